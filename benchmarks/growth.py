"""How time and memory grow with images and trainable blocks, and what half precision costs."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sides import bench_config, made_table, open_bench, opened, timed
from qa_core.backbones.registry import TINY_NAME
from qa_core.config import run_config_from_flat, with_settings
from qa_core.data.protocols import plan_protocol
from qa_core.features.workspace import Workspace
from qa_core.modes import mode_config
from qa_core.training.training_run import train_run

IMAGES = (250, 500, 1000, 2000, 4000)
MANY = (1_000, 10_000, 100_000)
"""Images of made tables, a prompt for each ten."""
SIDE = 48
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


def many_images(scratch: Path) -> dict[int, dict[str, float]]:
    """What a table costs on the embedded backbone, by its number of images."""
    found: dict[int, dict[str, float]] = {}
    for count in MANY:
        (folder := scratch / f"many{count}").mkdir()
        found[count] = _costs_of(count, folder)
        print(f"{count} images: {found[count]}", flush=True)
    return found


def _costs_of(count: int, folder: Path) -> dict[str, float]:
    """Of a table of so many images.

    Seconds to decode them, to fill the cache (8 of 12 blocks frozen, and the probe) and of a later
    epoch of either, with validation; MB of memory at the peak, and GB of the cache.
    """
    flags = made_table(count, count // 10, folder, SIDE)
    started = time.perf_counter()
    bench = opened(flags, count, folder)
    row = {"decode_s": time.perf_counter() - started}
    modes = {"partial": "residual_partial_freeze", "probe": "linear_probe"}
    configs = {name: bench_config(bench, mode, epochs=2) for name, mode in modes.items()}
    row["first_pass_s"] = timed(lambda: bench.workspace.warm(list(configs.values())))
    for name, config in configs.items():
        cost = _cost(train_run(config, bench.workspace, bench.split, test=False))
        row[f"{name}_epoch_s"] = cost["seconds_per_epoch"]
        row[f"{name}_mb"] = cost["peak_memory_mb"]
    kept = [file for file in (folder / "cache").rglob("*") if file.is_file()]
    return row | {"cache_gb": sum(file.stat().st_size for file in kept) / 1e9}


def _cost(result: Any) -> dict[str, float]:
    seconds = result.history[-1]["seconds_per_epoch"]
    return {"seconds_per_epoch": seconds, "peak_memory_mb": result.metrics["peak_memory_mb"]}


def precision_deviation(cache: Path, **flags: Any) -> dict[str, Any]:
    """Validation SROCC with these flags minus without them by seed, 8 blocks frozen."""
    base = run_config_from_flat({"threads": 1, "epochs": 8, "device": "cpu"})
    workspace = Workspace.open(base, cache)
    split = plan_protocol(workspace.table.frame).splits[0]
    config = mode_config("residual_partial_freeze", base, workspace.spec)
    found: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        runs = [
            train_run(with_settings(config, seed=seed, **more), workspace, split, test=False)
            for more in (flags, {})
        ]
        other, usual = (run.history[-1] for run in runs)
        for name in ("val_srocc_quality", "val_srocc_consistency"):
            found.setdefault(name, []).append(other[name] - usual[name])
    largest = float(np.max(np.abs(np.concatenate(list(found.values())))))
    return {"largest": largest, **found}
