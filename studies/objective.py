"""One trial: a setting of a mode on the folds of the tuning pool, pruned by earlier rounds."""

import hashlib
import json
import math
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from qa_core.config import RunConfig
from qa_core.modes import frozen_blocks
from qa_core.records.schema import Kind, Tag
from qa_core.records.tracking import RunRecord
from studies.context import Context

KNOBS = ("freeze_layers", "residual_scale_q", "residual_scale_c", "lr")
"""Settings that the adaptive search may change, in the modes that have them."""


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

    Attributes:
        folds: Best epoch's selection metric of each fold that was run.
        pruned: True if the remaining folds were given up.
        error: Why the trial has no value, or None.
    """

    folds: tuple[float, ...]
    pruned: bool = False
    error: str | None = None

    @property
    def value(self) -> float:
        """Mean over the folds that were run."""
        return float(np.mean(self.folds))

    @property
    def state(self) -> str:
        """COMPLETE, PRUNED or FAIL."""
        if self.error is not None:
            return "FAIL"
        return "PRUNED" if self.pruned else "COMPLETE"


def prune_after(folds: list[float], bars: tuple[float | None, ...]) -> bool:
    """Whether to give a trial up after its last fold so far.

    Args:
        folds: Values of the folds run so far.
        bars: After each fold, the running mean below which to give up; None never does.
    """
    bar = bars[len(folds) - 1]
    return bar is not None and float(np.mean(folds)) < bar


@dataclass(frozen=True)
class TrialWork:
    """A trial as a job: trains on each fold and writes its MLflow run.

    Attributes:
        mode: Name of the mode.
        number: Number of the trial in its study.
        values: The knobs.
        config: The configuration that they make, resolved.
        bars: After each fold but the last, the running mean below which to give up; None never.
        parent: Run id of the mode.
    """

    mode: str
    number: int
    values: dict[str, Any]
    config: RunConfig
    bars: tuple[float | None, ...]
    parent: str

    def run(self, context: Context) -> TrialResult:
        """The trial's result; read from MLflow where it is there already."""
        identity = self.identity(context)
        known = find_trial(context, self.mode, self.number, identity)
        if known is not None:
            return known
        started = time.time()
        result, histories = self._train(context)
        context.tracker.write(self.record(context, result, started, mean_history(histories)))
        return result

    def identity(self, context: Context) -> str:
        """Hash of everything that determines the result."""
        from qa_core.training.identity import run_identity  # torch: only where something is trained

        folds = [
            run_identity(self.config, context.workspace, fold, "trial")
            for fold in context.plan.folds
        ]
        return hashlib.sha256(json.dumps([folds, self.bars]).encode()).hexdigest()

    def record(
        self,
        context: Context,
        result: TrialResult,
        started_s: float,
        history: list[dict[str, float]] | None = None,
    ) -> RunRecord:
        """The MLflow run of a result."""
        tags = {Tag.MODE: self.mode, Tag.TRIAL: str(self.number), Tag.STATE: result.state}
        tags[Tag.IDENTITY] = self.identity(context)
        if result.error is not None:
            tags[Tag.ERROR] = result.error
        metrics = {f"fold_{k}": value for k, value in enumerate(result.folds)}
        if result.folds and result.error is None:
            metrics["objective"] = result.value
        shown = {  # what the ready view in MLflow's pages compares all modes by
            "mode": self.mode,
            "frozen_blocks": frozen_blocks(self.config, context.workspace.spec.image_depth),
            "log10_lr": math.log10(self.values["lr"]),
        }
        fixed = {
            n: v for n, v in self.config.flat().items() if n not in KNOBS
        }  # the mode's own are in values
        return RunRecord(
            name=f"{self.mode} trial {self.number}",
            kind=Kind.TRIAL,
            parent=self.parent,
            tags=tags,
            params=fixed | self.values | shown,
            metrics=metrics,
            history=history or (),
            started_s=started_s,
            status={"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}[result.state],
        )

    def _train(self, context: Context) -> tuple[TrialResult, list[tuple[dict[str, float], ...]]]:
        from qa_core.training.trainer import TrainingDiverged
        from qa_core.training.training_run import train_run

        values: list[float] = []
        histories: list[tuple[dict[str, float], ...]] = []
        for fold in context.plan.folds:
            try:
                run = train_run(self.config, context.workspace, fold, test=False)
            except TrainingDiverged as error:  # would diverge again: no retry
                return TrialResult(tuple(values), error=str(error)), histories
            values.append(run.best_selection)
            histories.append(run.history)
            if len(values) < len(context.plan.folds) and prune_after(values, self.bars):
                return TrialResult(tuple(values), pruned=True), histories
        return TrialResult(tuple(values)), histories


def find_trial(context: Context, mode: str, number: int, identity: str) -> TrialResult | None:
    """The result of a trial that MLflow has already, or None."""
    for run in context.tracker.runs(Kind.TRIAL, mode=mode, trial=str(number), identity=identity):
        if run.info.status == "RUNNING":
            continue  # left by a process that died while writing it
        tags, metrics = run.data.tags, run.data.metrics
        folds = tuple(metrics[name] for name in sorted(metrics) if name.startswith("fold_"))
        return TrialResult(folds, tags[Tag.STATE] == "PRUNED", tags.get(Tag.ERROR))
    return None


def mean_history(histories: list[tuple[dict[str, float], ...]]) -> list[dict[str, float]]:
    """Measures by epoch, each the mean over the folds that have it."""
    means: list[dict[str, float]] = []
    for epoch in range(max((len(history) for history in histories), default=0)):
        values: dict[str, list[float]] = defaultdict(list)
        for history in histories:
            for name, value in history[epoch].items() if epoch < len(history) else ():
                values[name].append(value)
        means.append({name: float(np.mean(found)) for name, found in values.items()})
    return means
