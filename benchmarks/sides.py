"""The two sides of a comparison, on the same rendered images: this project, and the plain loop."""

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import torch
from PIL import Image
from torchvision.transforms import Compose

from benchmarks.plain_loop import ALL_BLOCKS, PlainLoop, RatedFiles
from qa_core.backbones.registry import TINY_NAME, TINY_WEIGHTS, register_tiny, tiny_tokenizer
from qa_core.config import RunConfig, run_config_from_flat, with_settings
from qa_core.data.open_table import open_table
from qa_core.data.splits import Split
from qa_core.features.workspace import Workspace
from qa_core.model.quality_model import Batch, QualityModel
from qa_core.modes import freezing, mode_config
from qa_core.training.optim import make_optimizer
from qa_core.training.training_run import prepare_run, train_run

REPEATS = 3
PROMPT = "a small dark purple ring, a large brown heart and a dark green diamond"
FILE_SIDE = 512
"""Side in pixels of the files that both sides decode: that of most generators."""


@dataclass(frozen=True)
class Bench:
    """What a comparison runs on.

    Attributes:
        workspace: Images, prompts and backbone as this project opens them.
        split: Rows to train on and to validate on.
    """

    workspace: Workspace
    split: Split


def open_bench(backbone: str, rows: int, held_out: int, folder: Path, cache: Path) -> Bench:
    """The first rows of the embedded benchmark as JPEG files, and a backbone of random weights.

    Args:
        backbone: Any open_clip ViT.
        rows: Images, repeated where the benchmark has fewer.
        held_out: How many of them validate.
        folder: Where files and activations go.
        cache: Where the rendered benchmark lies.
    """
    benchmark = open_table(RunConfig().data, "explanation", cache, n_replicates=1)
    own = np.flatnonzero(benchmark.frame["replicate"] == 0)
    drawn = benchmark.of_rows(own[np.arange(rows) % len(own)])
    drawn.draw_images()
    frame = drawn.frame
    names = [f"{row}.jpg" for row in range(rows)]
    for name, path in zip(names, frame["image_path"], strict=True):
        with Image.open(path) as image:
            image.convert("RGB").resize((FILE_SIDE, FILE_SIDE)).save(folder / name, quality=95)
    columns = {"mos_quality": frame["mos_quality"], "mos_align": frame["mos_consistency"]}
    table = frame[["prompt"]].assign(name=names, **columns)
    table.to_csv(folder / "data.csv", index=False)
    flags = {"backbone": backbone, "pretrained": "none", "data_csv_path": str(folder / "data.csv")}
    flags |= {"mos_range_q": (0, 1), "mos_range_c": (0, 1)}
    workspace = Workspace.open(run_config_from_flat(flags), folder / "cache")
    order = np.arange(rows)
    split = Split(0, order[: rows - held_out], order[rows - held_out :], order[:0])
    return Bench(workspace, split)


def made_bench(
    backbone: str, images: int, prompts: int, folder: Path, side: int, device: str = "cpu"
) -> Bench:
    """Made images, of which a fifth validates.

    Args:
        backbone: The embedded one, or any open_clip ViT with random weights.
        images: How many.
        prompts: How many distinct ones.
        folder: Where files and activations go.
        side: Of the images, in pixels.
        device: Where to train.
    """
    flags = made_table(images, prompts, folder, side) | weights_of(backbone) | {"device": device}
    return opened(flags, images, folder)


def made_table(images: int, prompts: int, folder: Path, side: int) -> dict[str, Any]:
    """Noise as JPEG files and their table, with prompts in turn; the flags that name it."""
    rng = np.random.default_rng(0)
    names = [f"{row}.jpg" for row in range(images)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(folder / name)
    scores = {f"mos_{name}": rng.uniform(0, 1, images) for name in ("quality", "align")}
    texts = [f"{PROMPT}, number {row % prompts}" for row in range(images)]
    table = pd.DataFrame({"name": names, "prompt": texts, **scores})
    table.to_csv(folder / "data.csv", index=False)
    ranges = {"mos_range_q": (0, 1), "mos_range_c": (0, 1)}
    return ranges | {"data_csv_path": str(folder / "data.csv")}


def opened(flags: dict[str, Any], images: int, folder: Path) -> Bench:
    """A made table, decoded, of which the first fifth validates."""
    order, held_out = np.arange(images), images // 5
    split = Split(0, order[held_out:], order[:held_out], order[:0])
    return Bench(Workspace.open(run_config_from_flat(flags), folder / "cache"), split)


def weights_of(backbone: str) -> dict[str, Any]:
    """Flags of a backbone: its own weights where they come with it, random ones elsewhere."""
    return {} if backbone == TINY_NAME else {"backbone": backbone, "pretrained": "none"}


def bench_config(bench: Bench, mode: str, **flags: Any) -> RunConfig:
    """The guide's setting of a mode, some flags changed."""
    base = run_config_from_flat({"threads": torch.get_num_threads()})
    return with_settings(mode_config(mode, base, bench.workspace.spec), **flags)


def our_epoch(bench: Bench, config: RunConfig) -> float:
    """Seconds of the last epoch of a run, validation and the gap's subset included."""
    result = train_run(config, bench.workspace, bench.split, test=False)
    return result.history[-1]["seconds_per_epoch"]


def our_step(bench: Bench, config: RunConfig) -> float:
    """Median seconds of a training step, from one optimizer step to the next."""
    ends: list[float] = []
    train_run(
        config,
        bench.workspace,
        bench.split,
        test=False,
        on_step=lambda done, total: ends.append(time.perf_counter()),
    )
    return statistics.median(after - before for before, after in itertools.pairwise(ends))


def floor_step(bench: Bench, config: RunConfig) -> float:
    """Median seconds of forward and backward of the trainable blocks alone, data in memory."""
    model, batches = in_memory(bench, config)

    def one(batch: Batch) -> None:
        (model.embed_images(batch).sum() + model.embed_texts(batch).sum()).backward()
        model.zero_grad()

    return statistics.median(timed(lambda batch=batch: one(batch)) for batch in batches)


def trainable_step(bench: Bench, config: RunConfig) -> float:
    """Median seconds of a step of all that trains, heads and optimizer too, data in memory."""
    model, batches = in_memory(bench, config)
    step = training_step(model, model, config)
    return statistics.median(timed(lambda batch=batch: step(batch)) for batch in batches)


def training_step(
    model: QualityModel, forward: Callable[[Batch], Any], config: RunConfig
) -> Callable[[Batch], None]:
    """A step of all that trains in a model, its forward pass compiled or not; optimizer too."""
    optimizer = make_optimizer(model, config.optim)

    def step(batch: Batch) -> None:
        output = forward(batch)
        (output.q.square().mean() + output.c.square().mean()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def in_memory(bench: Bench, config: RunConfig) -> tuple[QualityModel, list[Batch]]:
    """A model that is to be trained, and the batches of an epoch; what is left over is dropped."""
    model, trainer = prepare_run(config, bench.workspace, bench.split)
    order = np.random.default_rng(0).permutation(bench.split.train)
    whole = len(order) // config.train.batch_size * config.train.batch_size
    batches = order[:whole].reshape(-1, config.train.batch_size)
    return model.train(), [trainer.data.features.batch(rows, trainer.device) for rows in batches]


def timed(work: Callable[[], Any]) -> float:
    """Seconds that some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def comparison(first: Callable[[], float], second: Callable[[], float]) -> dict[str, Any]:
    """The ratio first / second: its median over repeats, every repeat, and seconds of both."""
    pairs = [(first(), second()) for _ in range(REPEATS)]
    repeats = [one / other for one, other in pairs]
    medians = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {"ratio": statistics.median(repeats), "repeats": repeats, "seconds": list(medians)}


def plain_loop(bench: Bench, config: RunConfig, backbone: str, padded: bool = False) -> PlainLoop:
    """The plain loop on the same files, with the same part of the same backbone frozen.

    `padded`: it reads a batch's prompts to the end of the longest, not the whole context.
    """
    if backbone == TINY_NAME:
        register_tiny()
    weights = str(TINY_WEIGHTS) if backbone == TINY_NAME else None
    clip, _, transform = open_clip.create_model_and_transforms(backbone, pretrained=weights)
    assert isinstance(transform, Compose)
    tokenizer = tiny_tokenizer() if backbone == TINY_NAME else open_clip.get_tokenizer(backbone)
    blocks = {"none": 0, "partial": config.freeze.freeze_layers or 0, "all": ALL_BLOCKS}
    train, held_out = (_rated(bench, rows) for rows in (bench.split.train, bench.split.validation))
    frozen = blocks[freezing(config)]
    return PlainLoop(clip, transform, tokenizer, train, held_out, frozen, padded)


def _rated(bench: Bench, rows: np.ndarray) -> RatedFiles:
    frame = bench.workspace.table.frame.iloc[rows]
    mos = frame[["mos_quality", "mos_consistency"]].to_numpy(dtype=np.float32)
    return RatedFiles([Path(path) for path in frame["image_path"]], frame["prompt"].tolist(), mos)
