"""Per-epoch metric histories of many runs in few requests, from a local store or a server."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from qa_core.measures import catalogue
from qa_core.targets import TARGETS

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_BULK_ENDPOINT = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
_RUNS_A_REQUEST = 100  # the server refuses more
_VALUES_A_REQUEST = 25_000  # and silently cuts there

CURVE_METRICS = ("loss", "loss_q", "loss_c", "selection")

LoggedValue = tuple[str, int, str, float]  # run_id, step, metric, value


def metric_histories(
    client: "MlflowClient", run_ids: Sequence[str], keys: Iterable[str]
) -> pd.DataFrame:
    """Histories as one row a run and step: run_id, epoch and one column a metric.

    One request a metric and a hundred runs; asking run by run and metric by metric takes minutes
    for a thousand runs. Steps at which a metric was not logged hold NaN.
    """
    points = [
        point
        for key in keys
        for start in range(0, len(run_ids), _RUNS_A_REQUEST)
        for point in _history(client, list(run_ids[start : start + _RUNS_A_REQUEST]), key)
    ]
    long = pd.DataFrame(points, columns=["run_id", "epoch", "metric", "value"])
    long = long.drop_duplicates(["run_id", "epoch", "metric"], keep="last")
    wide = long.pivot_table(index=["run_id", "epoch"], columns="metric", values="value")
    return wide.reset_index().rename_axis(columns=None)


def _history(client: "MlflowClient", run_ids: list[str], key: str) -> Iterator[LoggedValue]:
    """History of one metric over at most a hundred runs, by the quickest way the store offers."""
    store: Any = client._tracking_client.store
    if hasattr(store, "get_metric_history_bulk"):
        for entry in store.get_metric_history_bulk(run_ids, key, _VALUES_A_REQUEST):
            metric = entry.to_dict()
            yield metric["run_id"], int(metric["step"]), key, float(metric["value"])
    elif hasattr(store, "get_host_creds"):
        yield from _history_from_server(store.get_host_creds(), run_ids, key)
    else:
        for run_id in run_ids:
            for metric in client.get_metric_history(run_id, key):
                yield run_id, int(metric.step), key, float(metric.value)


def _history_from_server(credentials: Any, run_ids: list[str], key: str) -> Iterator[LoggedValue]:
    """The same from a tracking server, through the request that its own pages make."""
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    response = http_request(
        credentials,
        _BULK_ENDPOINT,
        "GET",
        params=[("metric_key", key), *(("run_id", run_id) for run_id in run_ids)],
    )
    for metric in verify_rest_response(response, _BULK_ENDPOINT).json()["metrics"]:
        yield metric["run_id"], int(metric["step"]), key, float(metric["value"])


def curves_frame(client: "MlflowClient", cells: pd.DataFrame) -> pd.DataFrame:
    """Per-epoch metrics of the cells, epoch 0 = before training."""
    keys = [
        key
        for base in ("train_srocc", *(measure.by_epoch for measure in catalogue.by_epoch()))
        for key in (f"{base}_{target}" for target in TARGETS)
        if key in cells
    ]
    keys += [key for key in CURVE_METRICS if key in cells]
    identity = cells[["run_id", "mode", "setting", "split", "seed"]]
    if not keys:
        return identity.assign(epoch=0).iloc[:0]
    return identity.merge(metric_histories(client, list(cells["run_id"]), keys), on="run_id")


def lines_frame(client: "MlflowClient", cells: pd.DataFrame) -> pd.DataFrame:
    """Measures between pretrained and fine-tuned weights; the step is the per cent of the way."""
    if "wise_ft_percent" not in cells:
        return pd.DataFrame()
    own: Any = cells.dropna(subset=["wise_ft_percent"])
    keys = [key for key in cells if key.startswith("wise_ft_") and key != "wise_ft_percent"]
    lines = metric_histories(client, list(own["run_id"]), keys)
    identity = own[["run_id", "mode", "setting", "split", "seed"]]
    return identity.merge(lines.rename(columns={"epoch": "percent"}), on="run_id")
