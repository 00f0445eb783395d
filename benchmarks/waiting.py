"""What everybody waits for first: the smallest ablation, the tests, and scores of many images."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.sides import FILE_SIDE, bench_config, comparison, made_bench, timed
from benchmarks.soak import ablation_command
from qa_core.backbones.registry import TINY_NAME
from qa_core.scorer import Scorer
from qa_core.training.training_run import train_run

SCORED = 256


def smoke_seconds(scratch: Path) -> dict[str, float]:
    """`smoke_s`: `make ablation PROFILE=smoke` with an empty cache, from the command to the PDF."""
    words = ("--profile", "smoke", "--cache", str(scratch / "cache"))
    return {"smoke_s": seconds_of(ablation_command(scratch / "smoke", *words))}


def suite_seconds() -> dict[str, float]:
    """`test_s`: the tests on all cores, as `make test` runs them."""
    return {"test_s": seconds_of(["make", "-s", "-o", ".venv/installed", "test"])}


def scorer_ratio(scratch: Path) -> dict[str, Any]:
    """`scorer`: images scored one call each against all in one, by the embedded backbone."""
    bench = made_bench(TINY_NAME, SCORED, SCORED, scratch, FILE_SIDE)
    config = bench_config(bench, "linear_probe", epochs=1)
    trained = train_run(
        config, bench.workspace, bench.split, test=False, output_dir=scratch, standalone=True
    )
    assert trained.checkpoint is not None
    frame = bench.workspace.table.frame
    pairs = list(zip(map(Path, frame["image_path"]), frame["prompt"], strict=True))
    checkpoint = trained.checkpoint

    def seconds(at_once: int) -> float:
        scorer = Scorer.load(checkpoint, "cpu")  # a new one has seen no prompt
        calls = [pairs[k : k + at_once] for k in range(0, SCORED, at_once)]
        return timed(lambda: [scorer.score(*zip(*call, strict=True)) for call in calls])

    return {"scorer": comparison(lambda: seconds(1), lambda: seconds(SCORED))}


def seconds_of(command: list[str]) -> float:
    """Seconds of a command that must succeed; what it says goes to stderr."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=sys.stderr)
    return time.perf_counter() - started
