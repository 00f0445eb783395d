"""An ablation read from MLflow; nothing else is ever read."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qa_core.errors import UserError
from qa_core.records.mlflow_store import EXPERIMENT, open_client
from qa_core.records.schema import (
    MARGIN,
    Kind,
    Param,
    Tag,
    check_margin,
    is_complete,
    is_confirmation,
    is_finished,
    is_kind,
    records_of,
)
from qa_core.targets import TARGETS
from reports.evidence.ablation import Ablation, rests_on_prompts
from reports.evidence.artifacts import read_artifacts, read_tested_images
from reports.evidence.design import Design
from reports.evidence.frames import (
    cells_frame,
    modes_frame,
    references_frame,
    runs_frame,
    trials_frame,
)
from reports.evidence.histories import curves_frame, lines_frame
from reports.evidence.pooling import refuse_mixed, settle_doubles
from reports.evidence.studies import read_studies

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient


# Same data and same protocol: what must agree before runs may stand in one table.
_IDENTITY = (
    Param.PROTOCOL,
    Param.DATA_NAME,
    Param.DATA_SHA256,
    Param.BACKBONE_SHA256,
    Param.SPLIT_SEED,
)
_NOT_READ = (Kind.ABLATION, Kind.REFERENCE_MEANS)  # itself, and what is written after a report
_COUNTS = (Param.N_SPLITS, Param.N_TUNED_SPLITS, Param.N_SEEDS, Param.N_FOLDS)


def load_ablation(
    tracking_uri: str, downloads: Path | None = None, experiment: str = EXPERIMENT
) -> Ablation:
    """The one ablation of a tracking store.

    Args:
        tracking_uri: Store or server.
        downloads: Where the artifacts of a remote store are kept for as long as the ablation is
            used; by default in a temporary folder that stays.
        experiment: Name of its experiment.

    Raises:
        UserError: If there is none, or what is there must not be pooled.
    """
    client = open_client(tracking_uri)
    with records_of(tracking_uri):
        return _load(client, _all_runs(client, tracking_uri, experiment), tracking_uri, downloads)


def _load(
    client: "MlflowClient", runs: list["Run"], tracking_uri: str, downloads: Path | None
) -> Ablation:
    parent = _choose_parent(runs, tracking_uri)
    _check_params(parent.data.params)
    own = [r for r in runs if r.data.tags.get(Tag.ABLATION_ID) == parent.info.run_id]
    own = settle_doubles([r for r in own if r.data.tags.get(Tag.KIND) not in _NOT_READ])
    names = {
        r.data.tags[Tag.MODE] for r in own if is_kind(r, Kind.MODE) and Tag.ARM_OF in r.data.tags
    }
    of_arms = [r for r in own if r.data.tags.get(Tag.MODE) in names]
    of_modes = [r for r in own if r.data.tags.get(Tag.MODE) not in names]
    design = Design.of(parent.data.params)
    studies = read_studies(own, design)
    if design.n_folds:
        studies = {
            name: replace(one, predictions=read_artifacts(client, one.cells, (), downloads)[0])
            for name, one in studies.items()
        }
    info = parent.info
    images, pictures = read_tested_images(client, info.run_id, info.artifact_uri or "", downloads)
    whole = replace(
        _read_runs(client, parent, of_modes, downloads),
        images=images,
        pictures=pictures,
        runs=runs_frame([parent, *own]),
        studies=studies,
    )
    return replace(whole, arms=_read_runs(client, parent, of_arms, downloads)) if names else whole


def _check_params(params: Mapping[str, str]) -> None:
    """Raise ValueError where what everything rests on is no such value."""
    check_margin(float(params.get(Param.MARGIN, MARGIN)))
    if not set(params.get(Param.TARGETS, "").split(",")) & set(TARGETS):
        raise ValueError(f"it names none of the targets {', '.join(TARGETS)}")
    for name in _COUNTS:
        if int(params.get(name, 1)) < (name != Param.N_FOLDS):
            raise ValueError(f"{name} is {params[name]}")
    for name in (Param.VARIANCE_FACTOR, Param.VALIDATION_FACTOR):
        if not 0 <= float(params.get(name, 0)) < math.inf:
            raise ValueError(f"{name} is no factor")


def _read_runs(
    client: "MlflowClient", parent: "Run", own: list["Run"], downloads: Path | None
) -> Ablation:
    """An ablation of some of its runs."""
    cells = cells_frame([r for r in own if is_confirmation(r) and is_finished(r)])
    references = references_frame([r for r in own if is_kind(r, Kind.REFERENCE) and is_finished(r)])
    predictions, thumbnails = read_artifacts(client, cells, ("mode", "setting"), downloads)
    refuse_mixed(predictions)
    params = parent.data.params
    by_image = rests_on_prompts(params) or Design.of(params).n_folds
    tested = references if by_image else references.iloc[:0]
    return Ablation(
        id=parent.info.run_id,
        params=dict(params),
        complete=is_complete(parent),
        wall_s=parent.data.metrics.get("wall_s"),
        ended=parent.info.end_time,
        targets=tuple(t for t in TARGETS if t in params.get(Param.TARGETS, "").split(",")),
        modes=modes_frame([r for r in own if is_kind(r, Kind.MODE)]),
        trials=trials_frame([r for r in own if is_kind(r, Kind.TRIAL)]),
        cells=cells,
        curves=curves_frame(client, cells),
        references=references,
        runs=runs_frame(own),
        predictions=predictions,
        thumbnails=thumbnails,
        lines=lines_frame(client, cells),
        reference_predictions=read_artifacts(client, tested, ("reference",), downloads)[0],
    )


def _all_runs(client: "MlflowClient", tracking_uri: str, name: str) -> list["Run"]:
    """Every active run of the experiment, page by page."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        raise UserError(f"There is no ablation in {tracking_uri}: run `make ablation` first.")
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id], max_results=5000, page_token=token, order_by=["start_time"]
        )
        runs.extend(page)
        token = page.token
        if not token:
            return runs


def _choose_parent(runs: list["Run"], tracking_uri: str) -> "Run":
    """The parent run; of several with the same data and protocol, the latest.

    Raises:
        UserError: If there is none, or if they differ in what must agree.
    """
    parents = [r for r in runs if is_kind(r, Kind.ABLATION)]
    if not parents:
        raise UserError(f"There is no ablation in {tracking_uri}: run `make ablation` first.")
    for key in _IDENTITY:
        values = sorted({str(r.data.params.get(key)) for r in parents})
        if len(values) > 1:
            raise UserError(
                f"{tracking_uri} holds {len(parents)} ablations that differ in {key} "
                f"({', '.join(v[:40] for v in values)}), and such results are never pooled: "
                "give each its own OUT."
            )
    return max(parents, key=lambda r: (r.info.start_time, r.info.run_id))
