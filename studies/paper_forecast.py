"""A forecast on paper: from a backbone, a number of images and of cards, without trying anything.

Floating-point operations are counted from the architecture (Kaplan et al. 2020, appendix B: a
transformer block's forward pass takes 24 T d^2 + 4 T^2 d of them for T tokens of width d, a
backward pass twice that), and a card is taken to reach a share of its peak.
"""

from dataclasses import dataclass
from typing import Any

from qa_core.config import RunConfig
from qa_core.errors import UserError
from qa_core.modes import BackboneSpec, TowerName, freezing, frozen_blocks, prefix_blocks
from qa_core.settings.training import N_DRAWN
from studies.profiles import Profile

H100_BF16_PEAK = 989e12
"""Dense bf16 operations a second (NVIDIA H100 SXM data sheet)."""
SHARE_OF_PEAK = 0.35
"""An assumption, not a measurement: the share that transformers of this size commonly reach."""
SPEED = H100_BF16_PEAK * SHARE_OF_PEAK
BYTES = {"full": 4, "half": 2}
"""Bytes of a number that is kept."""
PROMPT_TOKENS = 20
PROBE_STEP_S = 0.004
CELL_S, START_S = 10.0, 60.0
POOL, TRAIN, HELD_OUT, FOLD = 0.3, 0.7, 0.1, 2 / 3
"""Shares: of images in the pool, of a split that trains and validates; of the pool, in a fold."""
BYTES_PER_ACTIVATION = 34
"""Bytes kept for backward, per token, width and block (Korthikanti et al. 2022, with flash)."""


@dataclass(frozen=True)
class Tower:
    """Size of a transformer tower; `side` is that of its images in pixels, 0 for text."""

    depth: int
    width: int
    tokens: int
    side: int = 0

    @property
    def name(self) -> TowerName:
        """Which of the two it is."""
        return "image" if self.side else "text"

    @property
    def block_flops(self) -> float:
        """Operations of a block's forward pass on one input."""
        return 24 * self.tokens * self.width**2 + 4 * self.tokens**2 * self.width

    @property
    def parameters(self) -> float:
        """Weights of all blocks."""
        return 12 * self.depth * self.width**2


def towers(backbone: str) -> tuple[Tower, Tower]:
    """Image and text tower of an open_clip ViT, by its configuration alone.

    Raises:
        UserError: open_clip does not know it, or it is no ViT.
    """
    import open_clip  # seconds: --help must not wait

    from qa_core.backbones.registry import register_tiny

    register_tiny()
    config: Any = open_clip.get_model_config(backbone)
    vision = (config or {}).get("vision_cfg", {})
    sizes = [vision.get(name) for name in ("layers", "image_size", "patch_size")]
    if not all(isinstance(size, int) for size in sizes):
        raise UserError(f"--backbone {backbone} is no plain ViT: it cannot be planned on paper.")
    text, grid = config["text_cfg"], vision["image_size"] // vision["patch_size"]
    image = Tower(vision["layers"], vision["width"], grid**2 + 1, vision["image_size"])
    return image, Tower(text["layers"], text["width"], PROMPT_TOKENS)


def backbone_spec(backbone: str) -> BackboneSpec:
    """What defaults need to know of a backbone, by its configuration alone."""
    image, text = towers(backbone)
    return BackboneSpec(image.depth, text.depth, published=True)


@dataclass(frozen=True)
class PaperForecast:
    """What an ablation would take.

    Attributes:
        hours: Hours of one card by mode, tuning and confirmation.
        whole_hours: Hours from start to end on all cards.
        disk_gb: Room by what takes it, in 10^9 bytes.
        card_gb: Memory of a card by mode, in 10^9 bytes.
        cached_depths: Freeze depths, from the top, whose activations `--cache_gb` allows.
    """

    hours: dict[str, float]
    whole_hours: float
    disk_gb: dict[str, float]
    card_gb: dict[str, float]
    cached_depths: int


def forecast_on_paper(
    configs: dict[str, RunConfig], profile: Profile, n_images: int, cards: int
) -> PaperForecast:
    """The forecast of an ablation at the guide's settings, each mode confirmed at two of them.

    Args:
        configs: The modes' configurations.
        profile: Its size.
        n_images: Images of the data set.
        cards: H100 cards, a worker each.
    """
    train = next(iter(configs.values())).train
    pair = image, text = towers(next(iter(configs.values())).clip.backbone)
    pictures = n_images * (1 + N_DRAWN if train.augment != "none" else 1)
    per_depth = pictures * image.tokens * image.width * BYTES[train.cache_precision] / 1e9
    cached = min(image.depth, int(train.cache_gb / per_depth))
    whole = sum(tower.depth * tower.block_flops for tower in (image, text))
    prefix_hours = (pictures * whole / SPEED + START_S) / 3600
    hours = {
        mode: _mode_hours(config, profile, n_images, pair, cached)
        for mode, config in configs.items()
    }
    trained = [_trainable_parameters(config, pair) for config in configs.values()]
    disk = {
        "decoded images": pictures * 3 * image.side**2 / 1e9,
        f"activations, one depth, {train.cache_precision} precision": per_depth,
        f"activations, all {image.depth - 1} depths of the search": per_depth * (image.depth - 1),
        "checkpoints": sum(profile.n_cells * count * 4 for count in trained) / 1e9,
    }
    card = {mode: _card_bytes(config, pair) / 1e9 for mode, config in configs.items()}
    return PaperForecast(hours, prefix_hours + sum(hours.values()) / cards, disk, card, cached)


def _mode_hours(
    config: RunConfig, profile: Profile, n_images: int, pair: tuple[Tower, Tower], cached: int
) -> float:
    """Hours of one card for tuning and confirming a mode."""
    in_trials = n_images * profile.n_trials * 3 * POOL * FOLD
    trained = in_trials + n_images * profile.n_cells * TRAIN
    scored = in_trials + 2 * n_images * profile.n_cells * HELD_OUT
    top = _flops_above_prefix(config, pair)
    whole = sum(tower.depth * tower.block_flops for tower in pair)
    frozen = 0.0 if _is_cached(config, pair[0], cached) else whole - top
    passes = (3 * top + frozen) * trained + (top + frozen) * scored
    seconds = config.passes * passes / SPEED
    if not top:  # the heads alone: a step costs its overhead
        seconds = config.passes * trained / config.train.batch_size * PROBE_STEP_S
    n_runs = profile.n_trials * 3 + profile.n_cells
    return (seconds + n_runs * CELL_S) / 3600


def _is_cached(config: RunConfig, image: Tower, cached: int) -> bool:
    """Whether the frozen prefix, if there is one, is computed once."""
    prefix = prefix_blocks(config, image.depth)
    return freezing(config) == "all" or not prefix or prefix > image.depth - cached


def _blocks_above_prefix(config: RunConfig, tower: Tower) -> int:
    """Blocks that every step runs, forwards and backwards."""
    return tower.depth - prefix_blocks(config, tower.depth, tower.name)


def _flops_above_prefix(config: RunConfig, pair: tuple[Tower, Tower]) -> float:
    return sum(_blocks_above_prefix(config, tower) * tower.block_flops for tower in pair)


def _trainable_parameters(config: RunConfig, pair: tuple[Tower, Tower]) -> float:
    blocks = [tower.depth - frozen_blocks(config, tower.depth, tower.name) for tower in pair]
    return sum(12 * n * tower.width**2 for n, tower in zip(blocks, pair, strict=True))


def _card_bytes(config: RunConfig, pair: tuple[Tower, Tower]) -> float:
    """Weights, gradients and two moments in float32, and what is kept for backward in bf16."""
    kept = sum(
        _blocks_above_prefix(config, tower) * tower.tokens * tower.width * BYTES_PER_ACTIVATION
        for tower in pair
    )
    weights = 4 * sum(tower.parameters for tower in pair)
    return weights + 12 * _trainable_parameters(config, pair) + config.train.batch_size * kept
