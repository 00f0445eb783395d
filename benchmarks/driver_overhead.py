"""What the driver costs a trial and a cell, with an objective of no cost.

    python -m benchmarks.driver_overhead [--counts 100 500 2000]

Drives the search and the designed cells through the code that an ablation runs, with one real
worker process whose jobs do nothing but, for cells, write their run to MLflow. Each number of
trials or cells has a process and stores of its own. Prints what a trial and a cell costs (CPU
seconds, which other load disturbs little, and wall seconds) and the driver's memory.
"""

import functools
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import tyro
from rich.console import Console

from qa_core.config import RunConfig, run_config_from_flat, with_settings
from qa_core.modes import BackboneSpec, mode_config
from qa_core.records.schema import Kind
from qa_core.records.tracking import RunRecord, Tracker
from studies import sweep
from studies.board import Board
from studies.cells import Cells, cells_of, run_cells
from studies.confirmation import CellResult, ConfirmationWork, ModeSetting
from studies.context import Context, Setup, open_context
from studies.designed.journal import record_in_optuna
from studies.engine.interface import Job, Outcome
from studies.engine.local import LocalEngine
from studies.objective import TrialResult
from studies.space import ModeSpace, mode_space

SPEC = BackboneSpec(image_depth=12, text_depth=4, published=False)
MODE = "residual_partial_freeze"
SPLITS = 10
MEASURES, EPOCHS = 30, 8
"""Of a cell's run in MLflow, as many as a real one has."""


@dataclass(frozen=True)
class Overhead:
    """What the driver costs."""

    counts: tuple[int, ...] = (100, 500, 2000)
    """Numbers of trials, and of cells."""
    cache: Path = Path(".cache")
    """Where the embedded benchmark lies."""
    target: Path = Path("runs/driver_overhead.json")
    """Where the figures go."""


@dataclass(frozen=True)
class FreeTrial:
    """A trial of no cost: a formula of its knobs."""

    values: dict[str, Any]

    def run(self, context: Any) -> TrialResult:
        """Three folds, best at 8 frozen blocks."""
        centre = -abs(self.values["freeze_layers"] - 8) / 10
        return TrialResult(tuple(centre + fold / 100 for fold in range(3)))


@dataclass(frozen=True)
class FreeCell(ConfirmationWork):
    """A cell of no cost, whose run is looked up and written like any other."""

    def _compute(self, identity: str, context: Context) -> CellResult:
        values = {f"measure_{k}": k / MEASURES for k in range(MEASURES)} | {"best_selection": 0.5}
        record = RunRecord(
            name=self.name,
            kind=self.setting.kind,
            parent=self.setting.parent,
            tags=self.tags(identity),
            params=self.setting.config.flat(),
            metrics=values,
            history=[values | {f"epoch_{k}": 0.0 for k in range(MEASURES)}] * EPOCHS,
        )
        clock = Clock()
        clock.timed(context.tracker.write)(record)
        return CellResult(values | {"mlflow_cpu_s": clock.cpu_s, "mlflow_wall_s": clock.wall_s})


class Clock:
    """Adds up the time that is spent in some functions."""

    def __init__(self) -> None:
        self.cpu_s = self.wall_s = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time added."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            cpu, wall = time.process_time(), time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.cpu_s += time.process_time() - cpu
                self.wall_s += time.perf_counter() - wall

        return call


def measure_trials(count: int) -> dict[str, float]:
    """Milliseconds a trial of the sampler, the storage and the rest of the driver; memory in MB."""
    whole, sampler, storage = Clock(), Clock(), Clock()
    optuna.Study.ask = sampler.timed(optuna.Study.ask)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as scratch, closing(LocalEngine(dict, workers=1)) as engine:
        journal = sweep.Journals(f"sqlite:///{scratch}/optuna.db").open(MODE)
        journal.add_trial = storage.timed(journal.add_trial)  # type: ignore[method-assign]
        one = sweep.ModeSweep(mode_space(MODE, RunConfig(), SPEC), journal, count)
        _start_worker(engine)
        board = _board(engine, "tune", count)

        def make_job(
            space: ModeSpace, number: int, values: dict[str, Any], bars: tuple[float | None, ...]
        ) -> Job:
            return Job(f"tune {MODE} {number}", FreeTrial(values))

        def ended(outcome: Outcome, result: TrialResult) -> None:
            board.ended(outcome, "complete", result.value)

        whole.timed(sweep.run_sweeps)([one], engine, make_job, ended)
        assert len(one.trials) == count
    parts = {"sampler": sampler.cpu_s, "storage": storage.cpu_s}
    parts["rest"] = whole.cpu_s - sum(parts.values())
    walls = {"sampler_wall": sampler.wall_s, "storage_wall": storage.wall_s}
    return _milliseconds(parts | walls | {"all_wall": whole.wall_s}, count)


def measure_cells(count: int, cache: Path) -> dict[str, float]:
    """Milliseconds a cell of listing, running and keeping it in Optuna, and of MLflow; memory."""
    listing, running, keeping = Clock(), Clock(), Clock()
    base = run_config_from_flat({"threads": 1})
    setup = Setup(base, cache, "auto", 0, SPLITS, None)
    with tempfile.TemporaryDirectory() as scratch:
        tracker = Tracker.open(Path(scratch))
        ablation = tracker.start(RunRecord("overhead", Kind.ABLATION))
        opener = functools.partial(
            open_context, setup, tracker.uri, tracker.experiment_id, ablation
        )
        context = opener()
        listed = listing.timed(cells_of)(_settings(count // SPLITS, base), SPLITS, context)
        cells: Cells = {name: FreeCell(work.setting, work.split) for name, work in listed.items()}
        assert len(cells) == count
        with closing(LocalEngine(opener, workers=1)) as engine:
            _start_worker(engine)
            board = _board(engine, "confirm", count)
            ended = _collecting(board)
            assert running.timed(run_cells)(cells, context, engine, board) == 0
        knobs = [{"number": k, "mode": MODE} for k in range(count // SPLITS)]
        journals = sweep.Journals(f"sqlite:///{scratch}/optuna.db")
        keeping.timed(record_in_optuna)(journals, "overhead", knobs, [[0.5] * SPLITS] * len(knobs))
    parts = {
        "listing": listing.cpu_s,
        "running": running.cpu_s,
        "optuna": keeping.cpu_s,
        "mlflow": sum(result["mlflow_cpu_s"] for result in ended),
        "mlflow_wall": sum(result["mlflow_wall_s"] for result in ended),
        "all_wall": listing.wall_s + running.wall_s + keeping.wall_s,
    }
    return _milliseconds(parts, count)


def _settings(count: int, base: RunConfig) -> list[ModeSetting]:
    guide = mode_config(MODE, base, SPEC)
    rates = [1e-4 * (1 + k / count) for k in range(count)]
    return [ModeSetting(MODE, f"lr={lr}", with_settings(guide, lr=lr), "", "lr") for lr in rates]


def _start_worker(engine: LocalEngine) -> None:
    """Wait for the worker: its imports and data are no cost of a trial or cell."""
    engine.submit(Job("start", FreeTrial({"freeze_layers": 8})))
    while engine.next_outcome(1.0) is None:
        pass


def _board(engine: LocalEngine, study: str, count: int) -> Board:
    board = Board(Console(quiet=True))
    board.watch(engine)
    board.expect(study, MODE, count, 0, float(count))
    return board


def _collecting(board: Board) -> list[dict[str, float]]:
    """The results that a board is told of from now on."""
    found: list[dict[str, float]] = []
    ended = board.ended

    def tell(outcome: Outcome, *rest: Any, **more: Any) -> None:
        found.append(outcome.value.metrics)
        ended(outcome, *rest, **more)

    board.ended = tell  # type: ignore[method-assign]
    return found


def _milliseconds(seconds: dict[str, float], count: int) -> dict[str, float]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    each = {f"{name}_ms": round(1000 * value / count, 2) for name, value in seconds.items()}
    return each | {"driver_memory_mb": round(peak)}


def main() -> None:
    """Measure all numbers, print them, write them."""
    args = tyro.cli(Overhead, description=__doc__)
    figures: dict[str, dict[int, dict[str, float]]] = {"trials": {}, "cells": {}}
    for count in args.counts:
        for name, measure in (("trials", [measure_trials]), ("cells", [measure_cells, args.cache])):
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, spawn) as alone:
                figures[name][count] = alone.submit(measure[0], count, *measure[1:]).result()
            print(f"{count:5d} {name}: {figures[name][count]}", flush=True)
    args.target.parent.mkdir(parents=True, exist_ok=True)
    args.target.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
