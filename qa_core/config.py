"""The configuration of one training run: small frozen dataclasses, composed in `RunConfig`.

Importing this module needs no torch, so that command lines answer `--help` at once. A field whose
default depends on the mode and the backbone is None here and filled by `qa_core.modes.resolve`.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, cast

from qa_core.settings.checks import require
from qa_core.settings.data import DataConfig, ImageView
from qa_core.settings.model import (
    EMBEDDED_BACKBONE,
    BackboneConfig,
    FreezeConfig,
    HeadConfig,
    RefinementConfig,
)
from qa_core.settings.training import KeepConfig, LossConfig, OptimConfig, TrainConfig


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines one run, but for the split it is given."""

    clip: BackboneConfig = field(default_factory=BackboneConfig)
    freeze: FreezeConfig = field(default_factory=FreezeConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    keep: KeepConfig = field(default_factory=KeepConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    data: DataConfig = field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        """Refuse flags that contradict each other across parts; settle how images are seen."""
        require(
            not (self.freeze.freeze_clip and self.optim.lr_head is not None),
            "With --freeze_clip only the heads train, at --lr: leave --lr_head out.",
        )
        keeps = ", ".join(self.keep.words())
        require(
            not (self.freeze.freeze_clip and keeps),
            f"With --freeze_clip nothing of CLIP changes, so this has no meaning: {keeps}.",
        )
        part = self.freeze.train_only
        require(
            part not in ("bias_norm", "projection")
            or not (self.keep.lora_rank or self.keep.adapter_reduction),
            f"--train_only {part} says what trains, and so do --lora_rank and --adapter_reduction:"
            " give one.",
        )
        require(
            self.train.augment == "none" or self.data.image_view != "crops",
            "--augment crop_flip and --image_view crops each say what a training step sees of an"
            " image: give one.",
        )
        if self.data.image_view is None:
            view = usual_view(self.clip.backbone, own_images=self.data.is_own)
            object.__setattr__(self, "data", dataclasses.replace(self.data, image_view=view))

    @property
    def image_view(self) -> ImageView:
        """How images are seen."""
        assert self.data.image_view is not None, "settled when the configuration was made"
        return self.data.image_view

    @property
    def passes(self) -> int:
        """Passes over the training part, those of all trainings of a soup."""
        return self.train.epochs * self.keep.soup

    def flat(self) -> dict[str, Any]:
        """All fields by flag name, without their groups; flag names are unique."""
        flat: dict[str, Any] = {}
        for part in dataclasses.fields(self):
            flat |= dataclasses.asdict(getattr(self, part.name))
        return flat


def usual_view(backbone: str, own_images: bool) -> ImageView:
    """How images are seen where nobody says it.

    A window of 48 native pixels tells `qa-tiny` more of a photograph than the whole at 48 pixels
    (docs/backbones.md has the figures), and costs the same.
    """
    return "centre" if own_images and backbone == EMBEDDED_BACKBONE else "whole"


def run_config_from_flat(values: dict[str, Any]) -> RunConfig:
    """A `RunConfig` from flag names and values, the rest at their defaults.

    Raises:
        UserError: A name is no flag of any part.
    """
    parts: dict[str, Any] = {}
    known: set[str] = set()
    for part in dataclasses.fields(RunConfig):
        part_type = cast("type[Any]", type(getattr(_DEFAULT, part.name)))
        names = {item.name for item in dataclasses.fields(part_type)}
        chosen = {name: _as_tuple(values[name]) for name in names & values.keys()}
        parts[part.name] = part_type(**chosen)
        known |= names
    unknown = sorted(values.keys() - known)
    require(not unknown, f"Unknown setting(s): {', '.join(unknown)}.")
    return RunConfig(**parts)


def with_settings(config: RunConfig, **values: Any) -> RunConfig:
    """The configuration with some flags changed, by flag name."""
    return run_config_from_flat(config.flat() | values)


def _as_tuple(value: Any) -> Any:
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


_DEFAULT = RunConfig()
