"""How much the parts of `make gpu-check` do, and on what."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.sides import Bench, made_bench, weights_of
from qa_core.arms import MODES
from qa_core.backbones.registry import TINY_NAME
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.modes import mode_config

SIDE = 224
"""Side in pixels of made images."""
Found = dict[str, Any]
"""What a part has found so far: `rows`, and figures by name."""


@dataclass(frozen=True)
class Sizes:
    """What the parts measure.

    Attributes:
        models: Backbones of which throughput is measured; of the first, where a step waits.
        large: The backbone of which frozen parts are measured, at so many `frozen_blocks`.
        batch: The usual batch; throughput doubles it up to `largest`, for as long as it fits.
        steps: Steps that are timed.
        images: Images of a data set.
        prompts: Distinct prompts of it.
        modes: That both devices train, on so many `replicates` of the embedded benchmark.
        of_replicate: Prompts of each; None takes all.
        epochs: Of every run.
    """

    models: tuple[str, ...]
    large: str
    frozen_blocks: int
    batch: int
    largest: int
    steps: int
    images: int
    prompts: int
    modes: tuple[str, ...]
    replicates: int
    of_replicate: int | None
    epochs: int


ON_CARD = Sizes(
    models=("ViT-B-32", "ViT-B-16", "ViT-L-14"),
    large="ViT-L-14",
    frozen_blocks=18,
    batch=32,
    largest=512,
    steps=20,
    images=2982,
    prompts=300,
    modes=tuple(MODES),
    replicates=2,
    of_replicate=None,
    epochs=2,
)
"""AGIQA-3K's number of images and prompts."""
ON_CPU = Sizes(
    models=(TINY_NAME,),
    large=TINY_NAME,
    frozen_blocks=8,
    batch=2,
    largest=4,
    steps=1,
    images=10,
    prompts=5,
    modes=("residual_partial_freeze",),
    replicates=1,
    of_replicate=5,
    epochs=1,
)
"""Enough to see that every part runs."""


def bench_of(backbone: str, sizes: Sizes, device: str, folder: Path) -> Bench:
    """Made images, as many as a data set has, on a device."""
    return made_bench(backbone, sizes.images, sizes.prompts, folder, SIDE, device)


def config_of(bench: Bench, backbone: str, mode: str, sizes: Sizes, **flags: Any) -> RunConfig:
    """The guide's setting of a mode on a device, at these sizes."""
    own = {"device": bench.workspace.device, "batch_size": sizes.batch, "epochs": sizes.epochs}
    base = run_config_from_flat(weights_of(backbone) | own)
    return mode_config(mode, base, bench.workspace.spec, **flags)
