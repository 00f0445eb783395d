"""Linear probes of a whole grid on one fold of the tuning pool: one computation, one run."""

import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from qa_core.config import RunConfig
from qa_core.errors import last_line
from qa_core.modes import mode_name
from qa_core.records.schema import Kind, Tag
from qa_core.records.tracking import RunRecord
from studies.board import Board, on_a_fold, pool_row
from studies.context import Context
from studies.engine.interface import Engine, Job, collect
from studies.space import expected_cost

VARIED = ("lr", "residual_scale_q", "residual_scale_c")


@dataclass(frozen=True)
class ProbeStack:
    """A stack as a job: trains all members together and writes one MLflow run.

    Its members are always the whole grid: what a member scores depends, in its last digits, on
    which others it is stacked with.

    Attributes:
        configs: Resolved configurations of the members.
        fold: Number of the fold.
        study: Name of the study.
        parent: Run id of the study.
    """

    configs: tuple[RunConfig, ...]
    fold: int
    study: str
    parent: str

    @property
    def name(self) -> str:
        """The run's name."""
        return f"{mode_name(self.configs[0])} {len(self.configs)} settings fold {self.fold}"

    def identity(self, context: Context) -> str:
        """Hash of everything that determines the scores, the other members included."""
        from qa_core.training.identity import run_identity  # torch: only where something is trained
        from qa_core.training.stacked_probes import WIDTH

        fold = context.plan.folds[self.fold]
        members = [run_identity(c, context.workspace, fold, "stack") for c in self.configs]
        return hashlib.sha256(json.dumps([members, WIDTH]).encode()).hexdigest()

    def run(self, context: Context) -> list[float]:
        """Best epoch's selection metric of each member; NaN for one that diverged."""
        from qa_core.training.stacked_probes import train_probes
        from qa_core.training.trainer_state import TrainerState

        identity, started = self.identity(context), time.time()
        known = context.tracker.find_finished(Kind.STACK, identity)
        if known is not None:
            return self.scores(known.data.metrics)
        outcomes = train_probes(self.configs, context.workspace, context.plan.folds[self.fold])
        found = [
            o.best_selection if isinstance(o, TrainerState) else float("nan") for o in outcomes
        ]
        metrics = {_member(k): score for k, score in enumerate(found)}
        with tempfile.TemporaryDirectory() as scratch:
            table = Path(scratch) / "members.csv"
            members = pd.DataFrame([{n: c.flat()[n] for n in VARIED} for c in self.configs])
            members.assign(best_selection=found).to_csv(table, index=False)
            metrics["wall_s"] = time.time() - started
            context.tracker.write(
                self._record(
                    identity, metrics=metrics, artifacts=[(table, None)], started_s=started
                )
            )
        return found

    def failed_record(self, context: Context, error: str) -> RunRecord:
        """The MLflow run of a stack that could not be computed."""
        return self._record(self.identity(context), error=error, status="FAILED")

    def _record(self, identity: str, error: str | None = None, **rest: object) -> RunRecord:
        tags = {Tag.STUDY: self.study, Tag.MODE: mode_name(self.configs[0])}
        tags |= {Tag.SPLIT: str(self.fold), Tag.IDENTITY: identity}
        tags |= {} if error is None else {Tag.ERROR: error}
        common = {k: v for k, v in self.configs[0].flat().items() if k not in VARIED}
        params = common | {"members": len(self.configs)}
        return RunRecord(self.name, Kind.STACK, self.parent, tags, params, **rest)  # type: ignore[arg-type]

    def scores(self, metrics: dict[str, float]) -> list[float]:
        """Each member's score among the metrics of a finished run."""
        return [metrics.get(_member(k), float("nan")) for k in range(len(self.configs))]


def _member(number: int) -> str:
    return f"selection_{number:03d}"


def score_together(
    configs: Sequence[RunConfig],
    study: str,
    parent: str,
    context: Context,
    engine: Engine,
    board: Board,
) -> tuple[int, list[list[float]]]:
    """Number of failed folds, and for each other fold the selection metric of every member."""
    row, folds = pool_row(study), range(len(context.plan.folds))
    stacks = [ProbeStack(tuple(configs), fold, study, parent) for fold in folds]
    done = context.tracker.finished(Kind.STACK)
    found = {
        stack.fold: stack.scores(done[identity].data.metrics)
        for stack in stacks
        if (identity := stack.identity(context)) in done
    }
    jobs = [_job(stack, row, context) for stack in stacks if stack.fold not in found]
    board.expect(row, mode_name(configs[0]), len(stacks), len(found), sum(job.cost for job in jobs))
    for job in jobs:
        engine.submit(job)
    for outcome in collect(engine, len(jobs)):
        work = outcome.job.work
        assert isinstance(work, ProbeStack)
        if outcome.error is not None:
            context.tracker.write(work.failed_record(context, outcome.error))
            board.ended(outcome, f"failed: {last_line(outcome.error)}", failed=True)
            continue
        found[work.fold] = outcome.value
        best = max((score for score in outcome.value if score == score), default=None)
        words = "all settings diverged" if best is None else f"best {on_a_fold(best)}"
        board.ended(outcome, words, best)
    return len(stacks) - len(found), [found[fold] for fold in sorted(found)]


def _job(stack: ProbeStack, row: str, context: Context) -> Job:
    images = len(context.plan.folds[stack.fold].train)
    cost = expected_cost(stack.configs[0], context.workspace.spec, images)
    return Job(f"{row} linear_probe {len(stack.configs)} settings {stack.fold}", stack, cost)
