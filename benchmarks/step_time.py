"""Seconds of a training step in each canonical mode, as ratios to `traditional`.

One thread, batch 32, the embedded benchmark, activations cached as in an ablation. A step is what
lies between two optimizer steps of an epoch: forward, backward, clipping, update. Medians over all
steps of one epoch a mode; the modes take turns, so that a slow moment of the machine hits all.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from qa_core.config import run_config_from_flat
from qa_core.data.splits import plan_splits
from qa_core.modes import MODES, mode_config
from qa_core.training_run import train_run
from qa_core.workspace import Workspace

REPEATS = 3
REFERENCE = "traditional"


def step_times(workspace: Workspace, mode: str) -> list[float]:
    """Seconds of each step but the first of one epoch."""
    base = run_config_from_flat({"epochs": 1, "threads": 1})
    config = mode_config(mode, base, workspace.spec)
    split = plan_splits(workspace.table.frame["group"].to_numpy(dtype=str)).splits[0]
    ends: list[float] = []
    train_run(
        config,
        workspace,
        split,
        test=False,
        on_step=lambda done, total: ends.append(time.perf_counter()),
    )
    return [after - before for before, after in itertools.pairwise(ends)]


def measure(workspace: Workspace) -> dict[str, list[float]]:
    """Median seconds of a step by mode, one a repeat."""
    medians: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(REPEATS):
        for mode, found in medians.items():
            found.append(statistics.median(step_times(workspace, mode)))
    return medians


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--out", type=Path, default=Path("runs/bench.json"))
    args = parser.parse_args()
    workspace = Workspace.open(run_config_from_flat({"threads": 1}), args.cache)
    workspace.warm([mode_config(m, run_config_from_flat({}), workspace.spec) for m in MODES])
    medians = measure(workspace)
    table = Table("mode", "ms", "ratio", f"{REPEATS} repeats")
    figures: dict[str, object] = {"commit": _commit()}
    for mode, seconds in medians.items():
        pairs = zip(seconds, medians[REFERENCE], strict=True)
        ratios = [own / reference for own, reference in pairs]
        ratio = statistics.median(ratios)
        figures[mode] = {
            "ratio": ratio,
            "repeats": ratios,
            "step_seconds": statistics.median(seconds),
        }
        listed = ", ".join(f"{value:.3f}" for value in ratios)
        table.add_row(mode, f"{1000 * statistics.median(seconds):.1f}", f"{ratio:.3f}", listed)
    Console().print(table)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(figures, indent=2) + "\n")
    print(args.out)


def _commit() -> str | None:
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


if __name__ == "__main__":
    main()
