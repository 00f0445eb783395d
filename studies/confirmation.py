"""Designed cells: a fixed setting of a mode on one split, identified by its content.

The confirmation and all designed studies are made of them. A cell is done when a finished run with
its identity exists, whoever made it, so what two of them ask for is computed once.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qa_core.config import RunConfig
from qa_core.data.splits import Split, with_train_share
from qa_core.modes import freezing
from qa_core.tracking import PARENT_TAG, RunRecord
from studies.context import Context
from studies.engine.interface import Engine, Job, Outcome
from studies.progress import Board, last_line
from studies.space import expected_cost

if TYPE_CHECKING:
    import pandas as pd

    from qa_core.training_run import RunResult

CONFIRM = "confirm"
THUMBNAIL_PX = 128
WORST_PER_TARGET = 4
_JPEG_QUALITY = 85


@dataclass(frozen=True)
class Setting:
    """A mode at one setting.

    Attributes:
        mode: Name of the mode.
        name: `guide` or `tuned`; in a study the values of its knobs, without spaces.
        config: The resolved configuration.
        parent: Run id of the mode, or of the study.
        study: Who asks for it: `confirm` or a study's name.
        train_share: Share of each split's training prompts that it trains on.
        keeps_files: Keep the best checkpoint and the worst images, as the confirmation does.
        on_pool: Its cells are the folds of the tuning pool, which have no test part.
    """

    mode: str
    name: str
    config: RunConfig
    parent: str
    study: str = CONFIRM
    train_share: float = 1.0
    keeps_files: bool = True
    on_pool: bool = False

    @property
    def kind(self) -> str:
        """Kind of its runs, and purpose in their identity."""
        return "pool" if self.on_pool else "confirmation"

    def split(self, index: int, context: Context) -> Split:
        """The rows that its cell of this number uses."""
        if self.on_pool:
            return context.plan.folds[index]
        groups = context.workspace.table.frame["group"].to_numpy(str)
        plan = context.plan
        return with_train_share(plan.splits[index], groups, self.train_share, plan.seed)


@dataclass(frozen=True)
class ConfirmationWork:
    """One cell as a job: trains, reads the test part once, writes its MLflow run.

    Attributes:
        setting: What is confirmed.
        split: Number of the split, or of the fold of the pool.
    """

    setting: Setting
    split: int

    def run(self, context: Context) -> dict[str, float]:
        """The final measures; read from MLflow where they are there already."""
        from qa_core.training_run import train_run

        identity = self.identity(context)
        known = context.tracker.find_finished(self.setting.kind, identity)
        if known is not None:
            return dict(known.data.metrics)
        started = time.time()
        setting, workspace = self.setting, context.workspace
        split = setting.split(self.split, context)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            kept = folder if setting.keeps_files else None
            test = not setting.on_pool
            result = train_run(setting.config, workspace, split, test=test, output_dir=kept)
            artifacts = _artifacts(result, workspace.table.frame, folder, setting.keeps_files)
            context.tracker.write(self._record(identity, started, result, artifacts))
        return result.metrics

    def identity(self, context: Context) -> str:
        """Hash of everything that determines the result."""
        from qa_core.identity import run_identity  # torch: only where something is trained

        split = self.setting.split(self.split, context)
        return run_identity(self.setting.config, context.workspace, split, self.setting.kind)

    def failed_record(self, context: Context, error: str) -> RunRecord:
        """The MLflow run of a cell that could not be computed."""
        tags = self.tags(self.identity(context)) | {"error": error}
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
        return f"{self.setting.mode} {self.setting.name} {part} {self.split}"

    def tags(self, identity: str) -> dict[str, str]:
        """What the run is found by."""
        return {
            "study": self.setting.study,
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
        tags = self.tags(identity)
        if result.checkpoint is not None:
            tags["checkpoint"] = result.checkpoint.name
        if freezing(self.setting.config) == "all":
            tags["retention_by_construction"] = "true"
        return RunRecord(
            name=self.name,
            kind=self.setting.kind,
            parent=self.setting.parent,
            tags=tags,
            params=self.setting.config.flat() | {"train_share": self.setting.train_share},
            metrics=result.metrics,
            undefined=result.undefined,
            history=result.history,
            artifacts=artifacts,
            started_s=started_s,
        )


Cells = dict[str, ConfirmationWork]
"""Cells by identity, so that equal ones are there once."""


def cells_of(settings: Iterable[Setting], count: int, context: Context) -> Cells:
    """The cells of these settings on the first splits (or folds of the pool)."""
    cells: Cells = {}
    for setting in settings:
        for split in range(count):
            work = ConfirmationWork(setting, split)
            cells.setdefault(work.identity(context), work)
    return cells


def run_cells(cells: Cells, context: Context, engine: Engine, board: Board) -> int:
    """Compute the cells that no finished run has; returns how many failed."""
    kinds = {work.setting.kind for work in cells.values()}
    done = {identity for kind in kinds for identity in context.tracker.finished(kind)}
    jobs = [_job(work, context) for identity, work in cells.items() if identity not in done]
    totals = Counter((_row(work.setting), work.setting.mode) for work in cells.values())
    for (row, mode), total in totals.items():
        left = [job.cost for job in jobs if job.name.startswith(f"{row} {mode} ")]
        board.expect(row, mode, total, total - len(left), sum(left))
    for job in jobs:
        engine.submit(job)
    failed = 0
    for _ in jobs:
        while (outcome := engine.next_outcome(1.0)) is None:
            pass
        failed += outcome.error is not None
        _ended(outcome, context, board)
    return failed


def _ended(outcome: Outcome, context: Context, board: Board) -> None:
    work = outcome.job.work
    assert isinstance(work, ConfirmationWork)
    if outcome.error is not None:
        context.tracker.write(work.failed_record(context, outcome.error))
        board.ended(outcome, f"failed: {last_line(outcome.error)}", failed=True)
        return
    selection = outcome.value["best_selection"]
    words = f"pool {selection:.4f}" if work.setting.on_pool else _srocc_words(outcome.value)
    board.ended(outcome, words, selection)


def adopt_cells(cells: Cells, context: Context) -> None:
    """Make those that a study computed cells of the confirmation; the study lists identities."""
    done = context.tracker.finished("confirmation")
    for identity in cells.keys() & done.keys():
        run, work = done[identity], cells[identity]
        if run.data.tags.get("study", CONFIRM) != CONFIRM:
            context.tracker.client.update_run(run.info.run_id, name=work.name)
            tags = work.tags(identity) | {PARENT_TAG: work.setting.parent}
            context.tracker.log(run.info.run_id, tags=tags)


def _job(work: ConfirmationWork, context: Context) -> Job:
    setting = work.setting
    images = len(setting.split(work.split, context).train)
    cost = expected_cost(setting.config, context.workspace.spec, images)
    return Job(f"{_row(setting)} {setting.mode} {setting.name} {work.split}", work, cost)


def _row(setting: Setting) -> str:
    """Where the board counts its cells."""
    return f"{setting.study}-pool" if setting.on_pool else setting.study


def _srocc_words(metrics: dict[str, float]) -> str:
    found = [
        f"{letter} {metrics[f'test_srocc_{target}']:.3f}"
        for target, letter in (("quality", "q"), ("consistency", "c"))
        if f"test_srocc_{target}" in metrics
    ]
    return "test SROCC " + ", ".join(found)


def _artifacts(
    result: "RunResult", frame: "pd.DataFrame", folder: Path, pictures: bool
) -> list[tuple[Path, str | None]]:
    files: list[tuple[Path, str | None]] = []
    if result.checkpoint is not None:
        files.append((result.checkpoint, "checkpoint"))
    if result.predictions is not None:
        predictions = folder / "predictions.csv"
        result.predictions.to_csv(predictions, index=False)
        files.append((predictions, None))
        for row in worst_rows(result.predictions) if pictures else ():
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
