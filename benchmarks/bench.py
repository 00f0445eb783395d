"""What caches and shared work earn, as ratios to a plain loop, both sides in one run.

Medians of repeats; the two sides take turns, so that a slow moment of the machine hits both. The
rows on ViT-B-32 have random weights: time does not depend on them.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.ablation_cost import ablation_ratios
from benchmarks.clock import by_the_clock, real_bench
from benchmarks.compiled import compiled_step
from benchmarks.growth import growth, many_images, precision_deviation
from benchmarks.many_runs import many_runs
from benchmarks.served import served
from benchmarks.sides import (
    REPEATS,
    bench_config,
    comparison,
    floor_step,
    open_bench,
    our_epoch,
    our_step,
    plain_loop,
    timed,
)
from benchmarks.waiting import scorer_ratio, smoke_seconds, suite_seconds
from qa_core import command_line as cli
from qa_core.system.files import written_whole
from qa_core.training.stacked_probes import train_probes
from qa_core.training.training_run import train_run

ROWS, HELD_OUT = 160, 32
PROBES, PROBE_EPOCHS = 64, 8
BACKBONE = "ViT-B-32"
EPOCHS: dict[str, tuple[str, dict[str, Any]]] = {
    "probe_epoch": ("linear_probe", {"epochs": 3}),
    "partial_freeze_epoch": ("residual_partial_freeze", {"epochs": 1, "freeze_layers": 9}),
    "full_epoch": ("residual", {"epochs": 1}),
}
"""Mode and settings of each row; the last of its epochs counts."""


@dataclass(frozen=True)
class Folders:
    """Where things lie.

    Attributes:
        cache: The rendered benchmark.
        scratch: Files of no further use.
        ablation: The default ablation.
        published: A published data set and its folder, or None.
    """

    cache: Path
    scratch: Path
    ablation: Path
    published: tuple[str, str] | None


def epoch_row(folders: Folders, name: str) -> dict[str, Any]:
    """One epoch against the plain loop's, and where blocks are frozen a step against its floor."""
    bench = open_bench(BACKBONE, ROWS, HELD_OUT, folders.scratch, folders.cache)
    mode, flags = EPOCHS[name]
    config = bench_config(bench, mode, **flags)
    prefix = timed(lambda: bench.workspace.warm([config]))
    figures: dict[str, Any] = {}
    for key, padded in ((name, False), (f"{name}_padded", True)):
        loop = plain_loop(bench, config, BACKBONE, padded)
        figures[key] = comparison(
            lambda loop=loop: timed(loop.epoch), lambda: our_epoch(bench, config)
        )
        figures[key]["prefix_s"] = prefix
    if mode == "residual_partial_freeze":
        figures["partial_freeze_step_over_floor"] = comparison(
            lambda: our_step(bench, config), lambda: floor_step(bench, config)
        )
    return figures


def clock_rows(folders: Folders) -> dict[str, Any]:
    """Whole runs with their files against the plain loop, on real images where they are named."""
    if folders.published:
        bench = real_bench(BACKBONE, *folders.published, folders.scratch)
    else:
        bench = open_bench(BACKBONE, ROWS, HELD_OUT, folders.scratch, folders.cache)
    return by_the_clock(bench, BACKBONE, folders.scratch)


def probes_row(folders: Folders) -> dict[str, Any]:
    """64 probe configurations one after another against all together."""
    bench = open_bench(BACKBONE, ROWS, HELD_OUT, folders.scratch, folders.cache)
    configs = [
        bench_config(
            bench,
            "linear_probe",
            epochs=PROBE_EPOCHS,
            lr=1e-3 * 5 ** (k % 8 / 7),
            residual_scale_q=0.05 + 0.05 * (k // 8),
            residual_scale_c=0.05 + 0.05 * (k // 8),
        )
        for k in range(PROBES)
    ]
    bench.workspace.warm(configs)

    def alone() -> None:
        for config in configs:
            train_run(config, bench.workspace, bench.split, test=False)

    together = comparison(
        lambda: timed(alone),
        lambda: timed(lambda: train_probes(configs, bench.workspace, bench.split)),
    )
    return {"probes_64": together}


def compiled_row(folders: Folders) -> dict[str, Any]:
    """A step of full fine-tuning, eager against compiled."""
    return compiled_step(open_bench(BACKBONE, ROWS, HELD_OUT, folders.scratch, folders.cache))


def startup_row(folders: Folders) -> dict[str, Any]:
    """Seconds until `--help` has answered, the slower of both commands."""
    commands = (["experiments/baseline.py"], ["-m", "reports.build"])
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    slowest = 0.0
    for command in commands:
        words = [sys.executable, *command, "--help"]

        def answer(words: list[str] = words) -> None:
            subprocess.run(words, check=True, capture_output=True, env=environment)

        slowest = max(slowest, statistics.median(timed(answer) for _ in range(REPEATS)))
    return {"startup_s": slowest}


def ablation_rows(folders: Folders) -> dict[str, Any]:
    """The whole default ablation against the plain loop's cells and against its bound."""
    return ablation_ratios(folders.ablation, folders.cache)


def growth_rows(folders: Folders) -> dict[str, Any]:
    """Time and memory of partial freeze by number of images and of trainable blocks."""
    return {"growth": growth(folders.scratch, folders.cache)}


def many_row(folders: Folders) -> dict[str, Any]:
    """Decoding, cache and epochs by the number of images, up to 100,000."""
    return {"many_images": many_images(folders.scratch)}


def runs_row(folders: Folders) -> dict[str, Any]:
    """Report, status and resume by the number of runs in MLflow, up to 10,000."""
    return {"many_runs": many_runs(folders.scratch)}


def precision_row(folders: Folders) -> dict[str, Any]:
    """What half-precision activations, and bfloat16 on CPU, do to validation SROCC."""
    return {
        "half_precision": precision_deviation(folders.cache, cache_precision="half"),
        "amp_on_cpu": precision_deviation(folders.cache, amp_on_cpu=True),
    }


def served_row(folders: Folders) -> dict[str, Any]:
    """The served model under load."""
    return {"served": served(folders.scratch, folders.cache)}


def scorer_row(folders: Folders) -> dict[str, Any]:
    """Images scored one call each against all in one."""
    return scorer_ratio(folders.scratch)


def smoke_row(folders: Folders) -> dict[str, Any]:
    """The smallest ablation by the clock."""
    return smoke_seconds(folders.scratch)


def test_row(folders: Folders) -> dict[str, Any]:
    """The tests by the clock."""
    return suite_seconds()


PARTS = {
    "startup": startup_row,
    **{name: functools.partial(epoch_row, name=name) for name in EPOCHS},
    "clock": clock_rows,
    "probes": probes_row,
    "precision": precision_row,
    "growth": growth_rows,
    "many": many_row,
    "runs": runs_row,
    "served": served_row,
    "scorer": scorer_row,
    "smoke": smoke_row,
    "ablation": ablation_rows,
    "compiled": compiled_row,
    "test": test_row,
}


def _parts(text: str) -> list[str]:
    """Names of parts, blanks between them."""
    unknown = [name for name in text.split() if name not in PARTS]
    if unknown or not text.split():
        raise argparse.ArgumentTypeError(f"{text!r} is not among {' '.join(PARTS)}")
    return text.split()


def main() -> None:
    """Measure, print a table, write the figures; parts that are not asked for stay as they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=_parts, default=list(PARTS), help=" ".join(PARTS))
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--data", help="for clock: a published data set with both scores")
    parser.add_argument("--data_root", help="its folder")
    parser.add_argument("--ablation", type=Path, default=Path("runs/bench_ablation"))
    parser.add_argument("--out", type=Path, default=Path("runs/bench.json"))
    args = parser.parse_args()
    if (args.data is None) != (args.data_root is None):
        parser.error("--data and --data_root go together")
    published = (args.data, args.data_root) if args.data else None
    figures = json.loads(args.out.read_text()) if args.out.exists() else {}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for part in args.only:
        with tempfile.TemporaryDirectory() as scratch:
            print(f"measuring: {part}", flush=True)
            figures |= PARTS[part](Folders(args.cache, Path(scratch), args.ablation, published))
        figures |= {"commit": commit(), "machine": machine()}
        with written_whole(args.out) as partial:
            partial.write_text(json.dumps(figures, indent=2) + "\n")
    _print(figures)
    print(args.out)


def _print(figures: dict[str, Any]) -> None:
    table = Table("key", "ratio", "repeats", "seconds")
    for name, value in figures.items():
        if isinstance(value, dict) and "ratio" in value:
            repeats = ", ".join(f"{ratio:.2f}" for ratio in value["repeats"])
            seconds = " / ".join(f"{second:.3g}" for second in value["seconds"])
            table.add_row(name, f"{value['ratio']:.2f}", repeats, seconds)
        elif name.endswith("_s"):
            table.add_row(name, "", "", f"{value:.2f}")
    Console().print(table)


def commit() -> str | None:
    """The commit of the checkout, by its first digits."""
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


def machine() -> str:
    """Cores and memory, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB"


if __name__ == "__main__":
    cli.run(main)
