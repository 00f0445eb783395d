"""A finished default ablation against the plain loop's time for its cells, and against its bound.

The cells (folds of trials that were run, and confirmations) are read from the ablation's MLflow
runs. What a cell costs either side is measured at some freeze depths on its own number of images
and interpolated between them.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.sides import Bench, plain_loop, timed, trainable_step
from qa_core.backbones.registry import TINY_NAME
from qa_core.config import RunConfig, run_config_from_flat, with_settings
from qa_core.data.protocols import plan_protocol
from qa_core.data.splits import Split
from qa_core.errors import UserError
from qa_core.features.workspace import Workspace
from qa_core.modes import freezing_of, mode_config
from qa_core.records.schema import Kind, Param
from qa_core.records.tracking import Tracker
from qa_core.training.training_run import prepare_run

PLAIN_DEPTHS = (0, 6, 12)
FLOOR_DEPTHS = (0, 2, 4, 8, 11, 12)
"""Frozen blocks at which a side is measured; 12 is the linear probe."""


@dataclass(frozen=True)
class TimedCell:
    """One training of an ablation: how many epochs, what it froze, and on which split."""

    frozen: int
    epochs: int
    split: Split


def ablation_ratios(out: Path, cache: Path) -> dict[str, Any]:
    """`ablation` (plain loop / ours), `ablation_over_bound` (bound / ours), and how long it took.

    Runs the ablation in `out` and times it from outside, from the command to the PDF. `plan_error`
    is the share by which its plan, an upper bound, was longer than that.

    Raises:
        UserError: `out` is there already: its time would not be this code's.
    """
    if out.exists():
        raise UserError(f"{out} is there already; the bench runs an ablation of its own in it.")
    command = [sys.executable, "-m", "experiments.ablation", "--out", str(out)]
    started = time.perf_counter()
    subprocess.run([*command, "--cache", str(cache)], check=True)
    wall = time.perf_counter() - started
    tracker = Tracker.open(out)
    [ablation] = tracker.runs(Kind.ABLATION)
    params = ablation.data.params
    base = run_config_from_flat({"threads": 1, "epochs": int(params["epochs"])})
    workspace = Workspace.open(base, cache)
    cells = _cells(tracker.of_ablation(ablation.info.run_id), workspace, base)
    workers = int(params["workers"])
    plain = sum(_interpolated(cells, PLAIN_DEPTHS, _plain_epoch(workspace)))
    bound = sum(_interpolated(cells, FLOOR_DEPTHS, _floor_epoch(workspace))) / workers
    rows = {"ablation": (plain, wall), "ablation_over_bound": (bound, wall)}
    figures: dict[str, Any] = {
        name: {"ratio": one / other, "repeats": [one / other], "seconds": [one, other]}
        for name, (one, other) in rows.items()
    }
    plan_error = float(params[Param.PLANNED_WHOLE]) / wall - 1
    return figures | {
        "ablation_s": wall, "ablation_workers": workers, "plan_error": plan_error,
    }  # fmt: skip


def _cells(tracker: Tracker, workspace: Workspace, base: RunConfig) -> list[TimedCell]:
    plan = plan_protocol(workspace.table.frame)
    cells: list[TimedCell] = []
    for run in tracker.runs(Kind.TRIAL):
        folds = [name for name in run.data.metrics if name.startswith("fold_")]
        frozen = _frozen(run.data.tags["mode"], run.data.params, workspace)
        cells += [TimedCell(frozen, base.train.epochs, plan.folds[k]) for k in range(len(folds))]
    for run in tracker.runs(Kind.CONFIRMATION):
        frozen = _frozen(run.data.tags["mode"], run.data.params, workspace)
        split = plan.splits[int(run.data.tags["split"])]
        cells.append(TimedCell(frozen, int(run.data.metrics["epochs_run"]), split))
    return cells


def _frozen(mode: str, params: dict[str, str], workspace: Workspace) -> int:
    depth = workspace.spec.image_depth
    if freezing_of(mode) == "partial":
        return int(params["freeze_layers"])
    return depth if freezing_of(mode) == "all" else 0


def _interpolated(
    cells: Sequence[TimedCell], depths: Sequence[int], epoch_s: Callable[[int, Split], float]
) -> list[float]:
    """Seconds of each cell; cells on as many images share a measurement."""
    curves: dict[tuple[int, int], list[float]] = {}
    seconds: list[float] = []
    for cell in cells:
        size = (round(len(cell.split.train), -2), round(len(cell.split.validation), -1))
        if size not in curves:
            curves[size] = [epoch_s(depth, cell.split) for depth in depths]
        seconds.append(cell.epochs * float(np.interp(cell.frozen, depths, curves[size])))
    return seconds


def _config(workspace: Workspace, frozen: int) -> RunConfig:
    base = run_config_from_flat({"threads": 1})
    if frozen == workspace.spec.image_depth:
        return mode_config("linear_probe", base, workspace.spec)
    if not frozen:
        return mode_config("residual", base, workspace.spec)
    config = mode_config("residual_partial_freeze", base, workspace.spec)
    return with_settings(config, freeze_layers=frozen)


def _plain_epoch(workspace: Workspace) -> Callable[[int, Split], float]:
    """An epoch of the plain loop, validation included, with all cores of this machine."""

    def measure(frozen: int, split: Split) -> float:
        torch.set_num_threads(os.cpu_count() or 1)
        loop = plain_loop(Bench(*workspace.holding(split)), _config(workspace, frozen), TINY_NAME)
        loop.epoch()
        return timed(loop.epoch)

    return measure


def _floor_epoch(workspace: Workspace) -> Callable[[int, Split], float]:
    """Steps of the trainable parts and validation by one thread, everything in memory."""

    def measure(frozen: int, split: Split) -> float:
        bench, config = Bench(*workspace.holding(split)), _config(workspace, frozen)
        _, trainer = prepare_run(config, bench.workspace, bench.split)
        steps = len(split.train) / config.train.batch_size
        held_out = bench.split.validation
        trainer.predict(held_out)
        validation = statistics.median(timed(lambda: trainer.predict(held_out)) for _ in range(3))
        return steps * trainable_step(bench, config) + validation

    return measure
