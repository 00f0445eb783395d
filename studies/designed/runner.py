"""Run a designed study: choose on the pool where needed, list its cells, compute the missing ones.

A study's run in MLflow lists its points with the identities of their cells. So a cell belongs to as
many studies as ask for it, and the last command decides how many splits and epochs a study has.
"""

from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from qa_core.config import RunConfig, with_settings
from qa_core.modes import mode_config, mode_name
from qa_core.records.schema import Kind, Tag
from qa_core.records.study_listing import StudyListing, StudyPoint
from qa_core.records.tracking import RunRecord
from studies.board import Board
from studies.cache_fill import fill_cache
from studies.cells import cells_of, run_cells
from studies.confirmation import ConfirmationWork, ModeSetting
from studies.context import Context
from studies.designed.journal import record_in_optuna
from studies.designed.probe_stack import score_together
from studies.designed.study_design import PlannedPoint, StudyDesign
from studies.engine.interface import Engine
from studies.sweep import Journals


@dataclass(frozen=True)
class Chosen:
    """A point with the candidate that the pool chose.

    Attributes:
        point: The point.
        setting: The chosen candidate, on the splits.
        pool: Its mean selection metric over the folds of the pool; None where that is not known.
        grid: That of every candidate, where they trained together; NaN for one that diverged.
    """

    point: PlannedPoint
    setting: ModeSetting
    pool: float | None
    grid: tuple[float, ...] = ()


@dataclass(frozen=True)
class DesignedStudy:
    """A design in one ablation.

    Attributes:
        design: What it asks.
        n_splits: It uses the first so many splits of the ablation.
        epochs: Epochs of each cell.
        base: The configuration that all modes of the ablation share.
        context: Data, splits and the way to MLflow.
        engine: Runs the cells.
        board: Shows progress.
        journals: Where Optuna keeps its trials.
    """

    design: StudyDesign
    n_splits: int
    epochs: int
    base: RunConfig
    context: Context
    engine: Engine
    board: Board
    journals: Journals

    def run(self) -> int:
        """List the study's cells and compute the missing ones; returns the number that failed."""
        spec, context = self.context.workspace.spec, self.context
        run_id = self._open_run()
        base = with_settings(self.base, epochs=self.epochs)
        points = list(self.design.points(base, spec))
        if self.design.stacked and not context.plan.folds:  # nothing to choose on
            points = [point for point in points if len(point.candidates) == 1]
        points = [p for p in points if p.train_share <= context.plan.largest_share]
        splits = (*context.plan.folds, *context.plan.splits[: self.n_splits])
        candidates = [config for point in points for config in point.candidates]
        fill_cache(candidates, splits, context, self.engine, self.board)
        failed, chosen = self._choose(points, run_id)
        context.tracker.log(run_id, tags=self._listing(chosen).to_tags())
        cells = cells_of([one.setting for one in chosen], self.n_splits, context)
        failed += run_cells(cells, context, self.engine, self.board)
        knobs = [one.point.knobs | {"mode": one.point.mode} for one in chosen]
        values = self._selection(Kind.CONFIRMATION)
        grid = [[values.get(i) for i in self._identities(one.setting)] for one in chosen]
        journal = f"{self.design.name}, {self.epochs} epochs"
        record_in_optuna(self.journals, journal, knobs, grid)
        context.tracker.client.set_terminated(run_id, "FAILED" if failed else "FINISHED")
        return failed

    def _open_run(self) -> str:
        """Run id of the study in this ablation, created where missing."""
        tracker, name = self.context.tracker, self.design.name
        found = tracker.runs(Kind.STUDY, study=name)
        if found:
            tracker.reopen(found[0].info.run_id)
            return found[0].info.run_id
        tags = {Tag.STUDY: name, Tag.QUESTION: self.design.question}
        return tracker.start(RunRecord(f"study {name}", Kind.STUDY, tracker.ablation_id, tags))

    def _setting(self, point: PlannedPoint, config: RunConfig, parent: str) -> ModeSetting:
        mode = mode_name(config)
        guide = mode_config(mode, self.base, self.context.workspace.spec)
        words = ",".join(f"{name}={value}" for name, value in point.knobs.items())
        return ModeSetting(
            mode=mode,
            name=words.replace(" ", "_"),
            config=config,
            parent=parent,
            study=self.design.name,
            train_share=point.train_share,
            tuned=self.design.uses_pool or self.design.stacked,
            keeps_files=config == guide and point.train_share == 1,  # it may confirm the mode
        )

    def _choose(self, points: list[PlannedPoint], run_id: str) -> tuple[int, list[Chosen]]:
        """Failed folds, and each point with its best candidate; the first where none is better."""
        rows = [[self._setting(point, c, run_id) for c in point.candidates] for point in points]
        folds = len(self.context.plan.folds)
        if self.design.stacked and folds:
            pairs = zip(points, rows, strict=True)
            together = [self._choose_together(point, row, run_id) for point, row in pairs]
            return sum(failed for failed, _ in together), [one for _, one in together]
        if not (self.design.uses_pool and folds):
            return 0, [Chosen(p, row[0], None) for p, row in zip(points, rows, strict=True)]
        on_pool = [[_on_pool(setting) for setting in row] for row in rows]
        cells = cells_of(chain.from_iterable(on_pool), folds, self.context)
        failed = run_cells(cells, self.context, self.engine, self.board)
        values = self._selection(Kind.POOL)
        chosen: list[Chosen] = []
        for point, row, pool_row in zip(points, rows, on_pool, strict=True):
            scores = [_mean([values.get(i) for i in self._identities(s)]) for s in pool_row]
            best = int(np.argmax([-np.inf if score is None else score for score in scores]))
            chosen.append(Chosen(point, row[best], scores[best]))
        return failed, chosen

    def _choose_together(
        self, point: PlannedPoint, row: list[ModeSetting], run_id: str
    ) -> tuple[int, Chosen]:
        """Failed folds, and the point with its best candidate, all trained as one computation."""
        if len(row) == 1:
            return 0, Chosen(point, row[0], None)
        failed, folds = score_together(
            point.candidates, self.design.name, run_id, self.context, self.engine, self.board
        )
        means = np.mean(folds, axis=0) if not failed else np.full(len(row), np.nan)
        if np.isnan(means).all():
            return failed, Chosen(point, row[0], None)
        best = int(np.nanargmax(means))
        return failed, Chosen(point, row[best], float(means[best]), tuple(means.tolist()))

    def _identities(self, setting: ModeSetting) -> list[str]:
        count = len(self.context.plan.folds) if setting.on_pool else self.n_splits
        return [ConfirmationWork(setting, k).identity(self.context) for k in range(count)]

    def _selection(self, kind: Kind) -> dict[str, float]:
        """Best epoch's selection metric of all finished cells of a kind, by identity."""
        done = self.context.tracker.finished(kind)
        return {identity: run.data.metrics["best_selection"] for identity, run in done.items()}

    def _listing(self, chosen: list[Chosen]) -> StudyListing:
        return StudyListing(
            n_splits=self.n_splits,
            epochs=self.epochs,
            variance_factor=self.context.plan.first(self.n_splits).variance_factor,
            points=tuple(
                StudyPoint(
                    mode=one.point.mode,
                    knobs=one.point.knobs,
                    train_share=one.point.train_share,
                    lr=_rate(one.setting.config),
                    pool=one.pool,
                    cells=tuple(self._identities(one.setting)),
                    grid=_grid(one),
                )
                for one in chosen
            ),
        )


def _on_pool(setting: ModeSetting) -> ModeSetting:
    name = f"{setting.name},lr={setting.config.optim.lr}"
    return replace(setting, name=name, on_pool=True, keeps_files=False)


def _grid(one: Chosen) -> tuple[tuple[float, float, float | None], ...]:
    """Rate, scale and score of every candidate; empty unless they trained together."""
    if not one.grid:
        return ()
    return tuple(
        (_rate(config), config.head.residual_scale_q, None if np.isnan(score) else score)
        for config, score in zip(one.point.candidates, one.grid, strict=True)
    )


def _rate(config: RunConfig) -> float:
    assert config.optim.lr is not None, "a resolved configuration has a learning rate"
    return config.optim.lr


def _mean(values: list[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if len(found) == len(values) else None
