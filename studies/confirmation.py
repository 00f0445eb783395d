"""Confirmation: each mode at a fixed setting over the splits, each cell identified by its content.

A cell is done when a finished run with its identity exists, whoever made it.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qa_core.config import RunConfig
from qa_core.modes import freezing
from qa_core.tracking import RunRecord
from studies.context import Context
from studies.engine.interface import Engine, Job, Outcome
from studies.space import expected_cost

if TYPE_CHECKING:
    import pandas as pd

    from qa_core.training_run import RunResult

THUMBNAIL_PX = 128
WORST_PER_TARGET = 4
_JPEG_QUALITY = 85


@dataclass(frozen=True)
class Setting:
    """A mode at one setting.

    Attributes:
        mode: Name of the mode.
        name: `guide` or `tuned`.
        config: The resolved configuration.
        parent: Run id of the mode.
    """

    mode: str
    name: str
    config: RunConfig
    parent: str


@dataclass(frozen=True)
class ConfirmationWork:
    """One cell as a job: trains, reads the test part once, writes its MLflow run.

    Attributes:
        setting: What is confirmed.
        split: Number of the split.
    """

    setting: Setting
    split: int

    def run(self, context: Context) -> dict[str, float]:
        """The final measures; read from MLflow where they are there already."""
        from qa_core.training_run import train_run

        identity = self.identity(context)
        known = context.tracker.find_finished("confirmation", identity)
        if known is not None:
            return dict(known.data.metrics)
        started = time.time()
        split, workspace = context.plan.splits[self.split], context.workspace
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            result = train_run(self.setting.config, workspace, split, test=True, output_dir=folder)
            artifacts = _artifacts(result, workspace.table.frame, folder)
            context.tracker.write(self._record(identity, started, result, artifacts))
        return result.metrics

    def identity(self, context: Context) -> str:
        """Hash of everything that determines the result."""
        from qa_core.identity import run_identity  # torch: only where something is trained

        split = context.plan.splits[self.split]
        return run_identity(self.setting.config, context.workspace, split, "confirmation")

    def failed_record(self, context: Context, error: str) -> RunRecord:
        """The MLflow run of a cell that could not be computed."""
        tags = self._tags(self.identity(context)) | {"error": error}
        return RunRecord(
            name=self._name,
            kind="confirmation",
            parent=self.setting.parent,
            tags=tags,
            params=self.setting.config.flat(),
            status="FAILED",
        )

    @property
    def _name(self) -> str:
        return f"{self.setting.mode} {self.setting.name} split {self.split}"

    def _tags(self, identity: str) -> dict[str, str]:
        return {
            "mode": self.setting.mode,
            "setting": self.setting.name,
            "split": str(self.split),
            "seed": str(self.setting.config.train.seed),
            "identity": identity,
        }

    def _record(
        self,
        identity: str,
        started_s: float,
        result: "RunResult",
        artifacts: list[tuple[Path, str | None]],
    ) -> RunRecord:
        tags = self._tags(identity)
        if result.checkpoint is not None:
            tags["checkpoint"] = result.checkpoint.name
        if freezing(self.setting.config) == "all":
            tags["retention_by_construction"] = "true"
        return RunRecord(
            name=self._name,
            kind="confirmation",
            parent=self.setting.parent,
            tags=tags,
            params=self.setting.config.flat(),
            metrics=result.metrics,
            undefined=result.undefined,
            history=result.history,
            artifacts=artifacts,
            started_s=started_s,
        )


def confirmation_jobs(settings: Sequence[Setting], context: Context) -> list[Job]:
    """A job for each cell that no finished run has."""
    done = context.tracker.finished_identities("confirmation")
    jobs: list[Job] = []
    for setting in settings:
        for split in context.plan.splits:
            work = ConfirmationWork(setting, split.index)
            if work.identity(context) not in done:
                name = f"confirm {setting.mode} {setting.name} {split.index}"
                cost = expected_cost(setting.config, context.workspace.spec, len(split.train))
                jobs.append(Job(name, work, cost))
    return jobs


def run_confirmation(jobs: Sequence[Job], engine: Engine, ended: Callable[[Outcome], None]) -> None:
    """Run all cells, telling `ended` of each."""
    for job in jobs:
        engine.submit(job)
    left = len(jobs)
    while left:
        outcome = engine.next_outcome(1.0)
        if outcome is not None:
            left -= 1
            ended(outcome)


def _artifacts(
    result: "RunResult", frame: "pd.DataFrame", folder: Path
) -> list[tuple[Path, str | None]]:
    files: list[tuple[Path, str | None]] = []
    if result.checkpoint is not None:
        files.append((result.checkpoint, "checkpoint"))
    if result.predictions is not None:
        predictions = folder / "predictions.csv"
        result.predictions.to_csv(predictions, index=False)
        files.append((predictions, None))
        for row in worst_rows(result.predictions):
            thumbnail = folder / f"{row}.jpg"
            _write_thumbnail(Path(frame["image_path"].iloc[row]), thumbnail)
            files.append((thumbnail, "thumbnails"))
    return files


def worst_rows(predictions: "pd.DataFrame") -> list[int]:
    """Rows of the table with the largest errors of each target."""
    rows: set[Any] = set()
    for target, letter in (("quality", "q"), ("consistency", "c")):
        if f"mos_{target}" in predictions and letter in predictions:
            scores, mos = predictions[letter], predictions[f"mos_{target}"]
            error = np.abs(scores.to_numpy(float) - mos.to_numpy(float))
            order = np.argsort(-error, kind="stable")[:WORST_PER_TARGET]
            rows |= set(predictions["row"].to_numpy()[order].tolist())
    return sorted(rows)


def _write_thumbnail(source: Path, target: Path) -> None:
    from PIL import Image

    with Image.open(source) as image:
        small = image.convert("RGB")
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    small.save(target, quality=_JPEG_QUALITY)
