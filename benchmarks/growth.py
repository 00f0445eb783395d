"""How time and memory grow with images and trainable blocks, and what half precision costs."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sides import bench_config, open_bench
from qa_core.backbones.registry import TINY_NAME
from qa_core.config import run_config_from_flat, with_settings
from qa_core.data.protocols import plan_protocol
from qa_core.features.workspace import Workspace
from qa_core.modes import mode_config
from qa_core.training.training_run import train_run

IMAGES = (250, 500, 1000, 2000, 4000)
SEEDS = 3


def growth(scratch: Path, cache: Path) -> dict[str, Any]:
    """Seconds and peak MB of an epoch by images (8 of 12 blocks frozen) and by trainable blocks."""
    by_images: dict[int, Any] = {}
    for count in IMAGES:
        folder = scratch / str(count)
        folder.mkdir()
        bench = open_bench(TINY_NAME, count, count // 5, folder, cache)
        config = bench_config(bench, "residual_partial_freeze", epochs=2)
        by_images[count] = _cost(train_run(config, bench.workspace, bench.split, test=False))
    bench = open_bench(TINY_NAME, 500, 100, scratch, cache)
    by_blocks: dict[int, Any] = {}
    for frozen in range(11, -1, -1):
        mode = "residual_partial_freeze" if frozen else "residual"
        flags = {"freeze_layers": frozen} if frozen else {}
        config = bench_config(bench, mode, epochs=2, **flags)
        by_blocks[12 - frozen] = _cost(train_run(config, bench.workspace, bench.split, test=False))
    return {"images": by_images, "trainable_blocks": by_blocks}


def _cost(result: Any) -> dict[str, float]:
    seconds = result.history[-1]["seconds_per_epoch"]
    return {"seconds_per_epoch": seconds, "peak_memory_mb": result.metrics["peak_memory_mb"]}


def half_precision_deviation(cache: Path) -> dict[str, Any]:
    """Validation SROCC with half- minus full-precision activations by seed, 8 blocks frozen."""
    base = run_config_from_flat({"threads": 1, "epochs": 8})
    workspace = Workspace.open(base, cache)
    split = plan_protocol(workspace.table.frame).splits[0]
    config = mode_config("residual_partial_freeze", base, workspace.spec)
    found: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        runs = [
            train_run(
                with_settings(config, seed=seed, cache_precision=precision),
                workspace,
                split,
                test=False,
            )
            for precision in ("half", "full")
        ]
        half, full = (run.history[-1] for run in runs)
        for name in ("val_srocc_quality", "val_srocc_consistency"):
            found.setdefault(name, []).append(half[name] - full[name])
    largest = float(np.max(np.abs(np.concatenate(list(found.values())))))
    return {"largest": largest, **found}
