"""Every run goes to MLflow: one sqlite store a folder, each run written in one batch.

mlflow is imported inside functions, because that takes seconds. Every call names its run instead of
using MLflow's global active run, so that several processes can write to one store.
"""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_core.errors import UserError
from qa_core.records.mlflow_store import (
    EXPERIMENT,
    experiment_name,
    open_client,
    open_experiment,
    open_store,
)
from qa_core.records.schema import RESULT_KINDS, Kind, Tag, is_finished, is_kind

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

_IS_RUNNING = "attributes.status = 'RUNNING'"
_BATCH = 1000  # the most metrics that MLflow takes in one call
_LONGEST_PARAM = 6000
_LONGEST_TAG = 8000
_ON_THE_LINE = ("selection", "val_srocc", "alignment_retention", "retention_r_at_1")


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run when it ends.

    Attributes:
        name: Name shown in the UI.
        kind: What it is.
        parent: Run id of the parent, or None.
        tags: Further tags.
        params: Parameters by name; any value that prints.
        metrics: Final measures; values that are not finite go to `undefined`.
        undefined: Measures without value, and why.
        history: Measures by epoch; entry e is logged with step e.
        by_percent: Measures by per cent of the way to the fine-tuned weights, logged as
            `wise_ft_*` with the per cent as step.
        artifacts: (file, folder below the run's artifacts) to copy.
        started_s: Start in seconds since 1970, or None for now.
        status: FINISHED, KILLED or FAILED.
    """

    name: str
    kind: Kind
    parent: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    undefined: Mapping[str, str] = field(default_factory=dict)
    history: Sequence[Mapping[str, float]] = ()
    by_percent: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    artifacts: Sequence[tuple[Path, str | None]] = ()
    started_s: float | None = None
    status: str = "FINISHED"


class Tracker:
    """Writes and finds runs of one experiment.

    Args:
        uri: Address of the MLflow store.
        experiment_id: The experiment.
        ablation_id: Run id of the ablation that all further runs belong to, or None.
    """

    def __init__(self, uri: str, experiment_id: str, ablation_id: str | None = None):
        self.uri, self.experiment_id, self.ablation_id = uri, experiment_id, ablation_id
        self.client = open_client(uri)

    @classmethod
    def open(cls, out: Path, server: str | None = None) -> "Tracker":
        """The tracker of a folder's store, or of its experiment on a server; created where missing.

        Raises:
            UserError: The server does not answer.
        """
        if server is not None:
            return cls(server, open_experiment(server, experiment_name(server, out)))
        return cls.at(open_store(out))

    @classmethod
    def at(cls, uri: str, name: str = EXPERIMENT) -> "Tracker":
        """The tracker of an experiment that is there.

        Raises:
            UserError: It is not.
        """
        experiment = open_client(uri).get_experiment_by_name(name)
        if experiment is None:
            raise UserError(f"There is no ablation {name} in {uri}.")
        return cls(uri, experiment.experiment_id)

    def of_ablation(self, ablation_id: str) -> "Tracker":
        """The same store, further runs tagged as belonging to this ablation."""
        return Tracker(self.uri, self.experiment_id, ablation_id)

    def start(self, record: RunRecord) -> str:
        """Create a run that goes on; `record`'s tags and params are written. Returns its id."""
        tags = {Tag.KIND: record.kind, **record.tags}
        if self.ablation_id is not None:
            tags[Tag.ABLATION_ID] = self.ablation_id
        if record.parent is not None:
            tags[Tag.PARENT] = record.parent
        run = self.client.create_run(
            self.experiment_id,
            start_time=None if record.started_s is None else int(record.started_s * 1000),
            tags={name: _clip(value, _LONGEST_TAG) for name, value in tags.items()},
            run_name=record.name,
        )
        self.log(run.info.run_id, params=record.params)
        return run.info.run_id

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Iterable["Metric"] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write to a run in as few calls as MLflow allows."""
        from mlflow.entities import Param, RunTag

        values = list(metrics)
        self.client.log_batch(
            run_id,
            metrics=values[:_BATCH],
            params=[
                Param(name, _clip(as_text(value), _LONGEST_PARAM))
                for name, value in (params or {}).items()
            ],
            tags=[RunTag(k, _clip(v, _LONGEST_TAG)) for k, v in (tags or {}).items()],
        )
        for start in range(_BATCH, len(values), _BATCH):
            self.client.log_batch(run_id, metrics=values[start : start + _BATCH])

    def end(self, run_id: str, record: RunRecord) -> None:
        """Write a record's measures and files to its run, then close it."""
        undefined = dict(record.undefined)
        undefined |= {n: "not finite" for n, v in record.metrics.items() if not math.isfinite(v)}
        tags = {Tag.UNDEFINED: json.dumps(undefined, sort_keys=True)} if undefined else {}
        # MLflow shows a name's last step, so an epoch's value would hide the final one.
        history = [_without(values, record.metrics) for values in record.history]
        metrics = epoch_metrics(history) + as_metrics(record.metrics)
        metrics += line_metrics(record.by_percent)
        self.log(run_id, metrics=metrics, tags=tags)
        for file, folder in record.artifacts:
            self.client.log_artifact(run_id, str(file), folder)
        self.client.set_terminated(run_id, record.status)

    def write(self, record: RunRecord) -> str:
        """Write a run that has ended; returns its id."""
        run_id = self.start(record)
        self.end(run_id, record)
        return run_id

    def runs(self, kind: Kind, **tags: str) -> list["Run"]:
        """Runs of a kind, whatever their status, oldest first; of this ablation if there is one."""
        return self._search(self._filter({Tag.KIND: kind, **tags}))

    def running(self) -> list["Run"]:
        """Runs of any kind that have not ended, of this ablation if there is one."""
        return self._search(" and ".join(filter(None, (_IS_RUNNING, self._filter({})))))

    def _filter(self, tags: Mapping[str, str]) -> str:
        own = {} if self.ablation_id is None else {Tag.ABLATION_ID: self.ablation_id}
        return " and ".join(f"tags.`{k}` = '{v}'" for k, v in {**tags, **own}.items())

    def _search(self, where: str) -> list["Run"]:
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], where, max_results=1000, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))

    def find_finished(self, kind: Kind, identity: str) -> "Run | None":
        """The first complete run with this identity, or None."""
        done = [r for r in self.runs(kind, identity=identity) if is_finished(r)]
        return done[0] if done else None

    def finished(self, kind: Kind) -> "dict[str, Run]":
        """The first complete run of each identity, of a kind."""
        found: dict[str, Run] = {}
        for run in self.runs(kind):
            if is_finished(run) and Tag.IDENTITY in run.data.tags:
                found.setdefault(run.data.tags[Tag.IDENTITY], run)
        return found

    def close_orphans(self) -> int:
        """End as KILLED the results that dead processes left RUNNING, half written.

        Call it only while nobody else writes to this ablation. Returns how many there were.
        """
        orphans = [run for run in self.running() if run.data.tags[Tag.KIND] in RESULT_KINDS]
        self.retire(orphans)
        return len(orphans)

    def retire(self, runs: "Iterable[Run]") -> None:
        """End runs as KILLED, of kind `orphan` from now on, so that no reader counts them."""
        for run in runs:
            if not is_kind(run, Kind.ORPHAN):
                tags = {Tag.KIND: Kind.ORPHAN, Tag.ORPHANED: run.data.tags[Tag.KIND]}
                self.log(run.info.run_id, tags=tags)
            self.client.set_terminated(run.info.run_id, "KILLED")

    def reopen(self, run_id: str) -> None:
        """Mark a run of an earlier session as running again."""
        self.client.update_run(run_id, status="RUNNING")

    def log_dataset(self, run_id: str, name: str, digest: str, n_images: int, uri: str) -> None:
        """Note a rated table as input of a run."""
        from mlflow.entities import Dataset, DatasetInput

        source, profile = json.dumps({"uri": uri}), json.dumps({"num_rows": n_images})
        dataset = Dataset(name, digest[:32], "local", source, profile=profile)
        self.client.log_inputs(run_id, [DatasetInput(dataset)])


def as_metrics(values: Mapping[str, float], step: int = 0) -> list["Metric"]:
    """Finite values as MLflow metrics."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(k, float(v), now, step) for k, v in values.items() if math.isfinite(v)]


def epoch_metrics(history: Sequence[Mapping[str, float]]) -> list["Metric"]:
    """Measures by epoch as MLflow metrics, the epoch as step."""
    return [metric for epoch, values in enumerate(history) for metric in as_metrics(values, epoch)]


def line_metrics(by_percent: Mapping[int, Mapping[str, float]]) -> list["Metric"]:
    """Measures between pretrained and fine-tuned weights, the per cent of the way as step."""
    return [
        metric
        for percent, values in by_percent.items()
        for metric in as_metrics(
            {f"wise_ft_{n}": v for n, v in values.items() if n.startswith(_ON_THE_LINE)}, percent
        )
    ]


def as_text(value: Any) -> str:
    """A value as MLflow keeps it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict | tuple):
        return json.dumps(value)
    return "" if value is None else str(value)


def _without(values: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name not in names}


def _clip(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
