"""One designed cell: a fixed setting of a mode on one split, identified by its content."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qa_core.config import RunConfig
from qa_core.data.decode import decode_small
from qa_core.data.splits import Split, with_train_share
from qa_core.modes import freezing
from qa_core.records.schema import CONFIRM, PREDICTIONS_FILE, Kind, Tag, is_finished
from qa_core.records.tracking import RunRecord
from qa_core.targets import TARGETS
from studies.context import Context

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

    from qa_core.training.training_run import RunResult

DIVERGED = "diverged"
"""Why a cell failed for good; one that failed otherwise is tried again by the next command."""
THUMBNAIL_PX = 128
WORST_PER_TARGET = 4
_JPEG_QUALITY = 85


@dataclass(frozen=True)
class ModeSetting:
    """A mode at one setting.

    Attributes:
        mode: Name of the mode.
        name: One of `Setting`; in a study the values of its knobs, without spaces.
        config: The resolved configuration.
        parent: Run id of the mode, or of the study.
        study: Who asks for it: `confirm` or a study's name.
        train_share: Share of each split's training prompts that it trains on.
        keeps_files: Keep the best checkpoint and the worst images, as the confirmation does.
        on_pool: Its cells are the folds of the tuning pool, which have no test part.
        tuned: Something of it was chosen on the pool, so it is tested outside the pool alone.
    """

    mode: str
    name: str
    config: RunConfig
    parent: str
    study: str = CONFIRM
    train_share: float = 1.0
    keeps_files: bool = True
    on_pool: bool = False
    tuned: bool = False

    @property
    def kind(self) -> Kind:
        """Kind of its runs, and purpose in their identity."""
        return Kind.POOL if self.on_pool else Kind.CONFIRMATION

    @property
    def of_seed(self) -> str:
        """Ending of the names of its runs, to tell further seeds from the first."""
        seed = self.config.train.seed
        return f" seed {seed}" if seed else ""

    def split(self, index: int, context: Context) -> Split:
        """The rows that its cell of this number uses."""
        if self.on_pool:
            return context.plan.folds[index]
        groups = context.workspace.table.frame["group"].to_numpy(str)
        plan = context.plan
        split = plan.outside_pool(plan.splits[index]) if self.tuned else plan.splits[index]
        return with_train_share(split, groups, self.train_share, plan.seed)


@dataclass(frozen=True)
class CellResult:
    """The result of a cell.

    Attributes:
        metrics: Its final measures.
        diverged: Why training diverged, which it would again; None where it did not.
    """

    metrics: dict[str, float]
    diverged: str | None = None


@dataclass(frozen=True)
class ConfirmationWork:
    """One cell as a job: trains, reads the test part once, writes its MLflow run.

    Attributes:
        setting: What is confirmed.
        split: Number of the split, or of the fold of the pool.
    """

    setting: ModeSetting
    split: int

    def run(self, context: Context) -> CellResult:
        """The final measures; read from MLflow where they are there already."""
        identity = self.identity(context)
        there = context.tracker.runs(self.setting.kind, identity=identity)
        known = next((run for run in there if is_settled(run)), None)
        if known is None:
            return self._compute(identity, context)
        diverged = known.data.tags[Tag.ERROR] if known.info.status == "FAILED" else None
        return CellResult(dict(known.data.metrics), diverged)

    def _compute(self, identity: str, context: Context) -> CellResult:
        from qa_core.training.trainer import TrainingDiverged
        from qa_core.training.training_run import train_run

        started = time.time()
        setting, workspace = self.setting, context.workspace
        split = setting.split(self.split, context)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            kept = folder if setting.keeps_files else None
            test = not setting.on_pool
            try:
                result = train_run(setting.config, workspace, split, test=test, output_dir=kept)
            except TrainingDiverged as error:
                context.tracker.write(self.failed_record(context, str(error), DIVERGED))
                return CellResult({}, str(error))
            artifacts = _artifacts(result, context, folder, setting.keeps_files)
            context.tracker.write(self._record(identity, started, result, artifacts))
        return CellResult(result.metrics)

    def identity(self, context: Context) -> str:
        """Hash of everything that determines the result."""
        from qa_core.training.identity import run_identity  # torch: only where something is trained

        split = self.setting.split(self.split, context)
        return run_identity(self.setting.config, context.workspace, split, self.setting.kind)

    def failed_record(self, context: Context, error: str, why: str = "raised") -> RunRecord:
        """The MLflow run of a cell that could not be computed."""
        tags = self.tags(self.identity(context)) | {Tag.ERROR: error, Tag.FAILURE: why}
        return RunRecord(
            name=self.name,
            kind=self.setting.kind,
            parent=self.setting.parent,
            tags=tags,
            params=self.setting.config.flat(),
            status="FAILED",
        )

    @property
    def name(self) -> str:
        """The run's name."""
        part = "fold" if self.setting.on_pool else "split"
        setting = self.setting
        return f"{setting.mode} {setting.name} {part} {self.split}{setting.of_seed}"

    def tags(self, identity: str) -> dict[str, str]:
        """Tags by which the run is found."""
        return {
            Tag.STUDY: self.setting.study,
            Tag.MODE: self.setting.mode,
            Tag.SETTING: self.setting.name,
            Tag.SPLIT: str(self.split),
            Tag.SEED: str(self.setting.config.train.seed),
            Tag.IDENTITY: identity,
        }

    def _record(
        self,
        identity: str,
        started_s: float,
        result: "RunResult",
        artifacts: list[tuple[Path, str | None]],
    ) -> RunRecord:
        tags = self.tags(identity)
        if result.checkpoint is not None:
            tags[Tag.CHECKPOINT] = result.checkpoint.name
        if freezing(self.setting.config) == "all":
            tags[Tag.RETENTION_BY_CONSTRUCTION] = "true"
        return RunRecord(
            name=self.name,
            kind=self.setting.kind,
            parent=self.setting.parent,
            tags=tags,
            params=self.setting.config.flat() | {"train_share": self.setting.train_share},
            metrics=result.metrics,
            undefined=result.undefined,
            history=result.history,
            by_percent=result.by_percent,
            artifacts=artifacts,
            started_s=started_s,
        )


def is_settled(run: "Run") -> bool:
    """Whether a cell need not be run again: it finished, or diverged, which it would repeat."""
    return is_finished(run) or run.data.tags.get(Tag.FAILURE) == DIVERGED


def _artifacts(
    result: "RunResult", context: Context, folder: Path, pictures: bool
) -> list[tuple[Path, str | None]]:
    frame = context.workspace.table.frame
    files: list[tuple[Path, str | None]] = []
    if result.checkpoint is not None:
        files.append((result.checkpoint, "checkpoint"))
    if result.predictions is not None:
        predictions = folder / PREDICTIONS_FILE
        in_pool = np.isin(result.predictions["row"].to_numpy(), context.plan.pool)
        result.predictions.assign(in_pool=in_pool).to_csv(predictions, index=False)
        files.append((predictions, None))
        for row in worst_rows(result.predictions) if pictures else ():
            thumbnail = folder / f"{row}.jpg"
            picture = decode_small(Path(frame["image_path"].iloc[row]), THUMBNAIL_PX)
            picture.save(thumbnail, quality=_JPEG_QUALITY)
            files.append((thumbnail, "thumbnails"))
    return files


def worst_rows(predictions: "pd.DataFrame") -> list[int]:
    """Rows of the table with the largest errors of each target."""
    rows: set[Any] = set()
    for target in TARGETS:
        if {target.mos, target.prediction} <= set(predictions.columns):
            scores, mos = predictions[target.prediction], predictions[target.mos]
            error = np.abs(scores.to_numpy(float) - mos.to_numpy(float))
            order = np.argsort(-error, kind="stable")[: np.isfinite(error).sum()]
            order = order[:WORST_PER_TARGET]
            rows |= set(predictions["row"].to_numpy()[order].tolist())
    return sorted(rows)
