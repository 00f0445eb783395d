"""One run by the clock, files included, against the plain loop on the same images and prompts.

The run is what `experiments/baseline.py` trains: it keeps a checkpoint that holds the whole model,
and a state to go on from. The loop reads prompts no further than a batch's longest, as loops on
transformers do, and keeps nothing.
"""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sides import Bench, bench_config, comparison, opened, plain_loop, timed, weights_of
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.data.open_table import open_table
from qa_core.training.training_run import train_run

IMAGES = 200
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "probe_clock": ("linear_probe", {"epochs": 20}),
    "partial_freeze_clock": ("residual_partial_freeze", {"epochs": 8, "freeze_layers": 9}),
    "full_clock": ("residual", {"epochs": 5}),
    "partial_freeze_clock_amp": (
        "residual_partial_freeze",
        {"epochs": 8, "freeze_layers": 9, "amp_on_cpu": True},
    ),
    "full_clock_amp": ("residual", {"epochs": 5, "amp_on_cpu": True}),
}
"""Mode and settings of each row."""


def real_bench(backbone: str, dataset: str, root: str, folder: Path) -> Bench:
    """Some images of a published data set, all over its table, and a backbone of random weights."""
    data = run_config_from_flat({"dataset": dataset, "data_root": root}).data
    whole = open_table(data, "explanation", folder / "cache")
    drawn = np.linspace(0, len(whole.frame) - 1, IMAGES).astype(int)
    table = whole.frame.iloc[np.random.default_rng(0).permutation(drawn)]
    names = [f"{k}{Path(path).suffix}" for k, path in enumerate(table["image_path"])]
    for name, path in zip(names, table["image_path"], strict=True):  # no links: they are refused
        shutil.copyfile(path, folder / name)
    table = table.assign(name=names).rename(columns={"mos_consistency": "mos_align"})
    table[["name", "prompt", "mos_quality", "mos_align"]].to_csv(folder / "data.csv", index=False)
    ranges = {"mos_range_q": (0, 1), "mos_range_c": (0, 1)}  # as a table is read, scaled
    flags = ranges | weights_of(backbone) | {"data_csv_path": str(folder / "data.csv")}
    return opened(flags, IMAGES, folder)


def by_the_clock(bench: Bench, backbone: str, folder: Path) -> dict[str, Any]:
    """Seconds of an epoch after the first, what is written at the end shared among them."""
    figures: dict[str, Any] = {}
    for name, (mode, flags) in RUNS.items():
        config = bench_config(bench, mode, **flags)
        bench.workspace.warm([config])
        loop = plain_loop(bench, config, backbone, padded=True)
        figures[name] = comparison(
            lambda loop=loop: timed(loop.epoch),
            lambda config=config: _epoch_with_files(bench, config, folder),
        )
    return figures


def _epoch_with_files(bench: Bench, config: RunConfig, folder: Path) -> float:
    ends: list[float] = []
    with tempfile.TemporaryDirectory(dir=folder) as out:
        train_run(
            config,
            bench.workspace,
            bench.split,
            test=False,
            output_dir=Path(out),
            on_epoch=lambda *_: ends.append(time.perf_counter()),
            standalone=True,
        )
        ended = time.perf_counter()
    return (ended - ends[0]) / (len(ends) - 1)
