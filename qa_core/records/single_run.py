"""One run of its own in MLflow, outside any ablation, logged while it goes on."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qa_core.records.schema import Kind, Param, Tag
from qa_core.records.tracking import RunRecord, Tracker, as_metrics


class SingleRun:
    """One run of its own that is logged while it goes on; a context manager."""

    def __init__(self, tracker: Tracker, record: RunRecord):
        self._tracker, self._record = tracker, record
        self._run_id = tracker.start(record)

    def __enter__(self) -> "SingleRun":
        """Nothing more to do: the run exists."""
        return self

    def log_epoch(self, epoch: int, measures: Mapping[str, float]) -> None:
        """Write an epoch's measures."""
        self._tracker.log(self._run_id, metrics=as_metrics(measures, epoch))

    def log_result(self, result: Any) -> None:
        """Note the final measures of a `RunResult`; written when the run ends."""
        artifacts = () if result.checkpoint is None else ((result.checkpoint, "checkpoint"),)
        self._record = dataclasses.replace(
            self._record,
            metrics=result.metrics,
            by_percent=result.by_percent,
            undefined=result.undefined,
            artifacts=artifacts,
        )

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Close the run: FINISHED, KILLED when interrupted, FAILED after an error."""
        status = "FINISHED" if kind is None else "FAILED"
        if kind is not None and not issubclass(kind, Exception):
            status = "KILLED"
        self._tracker.end(self._run_id, dataclasses.replace(self._record, status=status))


def track_single_run(output_dir: Path, config: Any, workspace: Any, split: int) -> SingleRun:
    """Track one run of its own in `output_dir`.

    Args:
        output_dir: Where `mlflow.db` and `artifacts` lie.
        config: The resolved `RunConfig`.
        workspace: The run's `Workspace`.
        split: Number of the split.
    """
    from qa_core.modes import mode_name

    mode = mode_name(config)
    tags = {Tag.MODE: mode, Tag.SPLIT: str(split), Tag.SEED: str(config.train.seed)}
    table = workspace.table
    params = config.flat() | {
        Param.DATA_NAME: table.name,
        Param.DATA_SHA256: table.sha256,
        Param.BACKBONE_SHA256: workspace.backbone_sha256,
    }
    record = RunRecord(f"{mode} split {split}", Kind.SINGLE, tags=tags, params=params)
    return SingleRun(Tracker.open(output_dir), record)
