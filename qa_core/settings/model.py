"""Flags of the model: which CLIP, how much of it trains, what the heads predict."""

from dataclasses import dataclass
from typing import Literal

from qa_core.settings.checks import require, require_positive, require_range

ScaleSchedule = Literal["fixed", "learnable", "curriculum"]
BaseInit = Literal["unit", "fit"]
FreezeFrom = Literal["bottom", "top"]
TrainedPart = Literal["all", "image", "text", "bias_norm", "projection"]
FusionInput = Literal["img", "txt", "cos", "product"]
EMBEDDED_BACKBONE = "qa-tiny"


@dataclass(frozen=True)
class BackboneConfig:
    """Which CLIP the model starts from."""

    backbone: str = EMBEDDED_BACKBONE
    """An open_clip model name, or a folder with open_clip_config.json and weights; qa-tiny is the
    embedded one."""
    pretrained: str = "default"
    """open_clip tag, a weights file, `none` (random), or `default` (the embedded weights, the
    folder's, or a published tag's)."""
    tokenizer: str | None = None
    """Folder with tokenizer.json (default: the backbone's own, downloaded if it is neither
    open_clip's nor in the folder)."""


@dataclass(frozen=True)
class FreezeConfig:
    """How much of CLIP training may touch."""

    freeze_clip: bool = False
    """Freeze both towers: a linear probe."""
    partial_freeze: bool = False
    """Freeze the stem and the first blocks of each tower."""
    freeze_layers: int | None = None
    """Number of blocks that --partial_freeze freezes (default: 8 of 12, 18 of 24)."""
    freeze_image_layers: int | None = None
    """The same of the image tower alone; 0 freezes nothing of it."""
    freeze_text_layers: int | None = None
    """The same of the text tower alone; 0 freezes nothing of it."""
    freeze_from: FreezeFrom = "bottom"
    """top: --partial_freeze freezes the last blocks, final norm and projection instead."""
    train_only: TrainedPart = "all"
    """What of CLIP trains: all; one tower (image, text); biases and norms (bias_norm); or the
    projections alone."""

    def __post_init__(self) -> None:
        """Refuse flags that contradict each other."""
        require(
            not (self.freeze_clip and self.partial_freeze),
            "--freeze_clip freezes everything and --partial_freeze a part: give one of the two.",
        )
        for flag in ("freeze_layers", "freeze_image_layers", "freeze_text_layers"):
            blocks = getattr(self, flag)
            require(
                blocks is None or self.partial_freeze,
                f"--{flag} {blocks} needs --partial_freeze beside it.",
            )
            require_range(flag, blocks, 0, 1000)
        require(
            self.freeze_from == "bottom" or self.partial_freeze,
            f"--freeze_from {self.freeze_from} needs --partial_freeze beside it.",
        )
        require(
            self.train_only == "all" or not self.freeze_clip,
            f"--freeze_clip trains nothing of CLIP: leave out --train_only {self.train_only}.",
        )
        require(
            self.train_only != "projection" or not self.partial_freeze,
            "--train_only projection freezes all blocks already: leave out --partial_freeze.",
        )


@dataclass(frozen=True)
class HeadConfig:
    """What the heads predict and from what."""

    residual_learning: bool = True
    """Score = CLIP-based base + scale * tanh correction; off: direct prediction."""
    residual_scale_q: float = 0.2
    """Largest correction of the quality score."""
    residual_scale_c: float = 0.2
    """Largest correction of the consistency score."""
    scale_schedule: ScaleSchedule = "fixed"
    """fixed, learnable (bounded to 0..1), or curriculum (grows from 0 to the given value)."""
    curriculum_share: float = 0.5
    """Share of training over which a curriculum scale grows."""
    base_init: BaseInit = "unit"
    """unit: a = 1, b = 0; fit: least squares of the training MOS on (cos + 1) / 2."""
    fusion_inputs: tuple[FusionInput, ...] = ("img", "txt", "cos")
    """What the consistency heads read, in every mode."""
    use_two_branch: bool = False
    """Direct mode: c is the mean of the fusion head and sigmoid(s * cos + t)."""
    matched_direct: bool = False
    """Direct prediction with the inputs, capacity and start of the residual heads, without their
    bound."""
    dropout: float = 0.1
    """Dropout inside the MLP heads."""
    antonym_prompts: bool = False
    """Compute each base from how well the image fits five prompts, from bad to perfect."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for flag in ("residual_scale_q", "residual_scale_c"):
            require_range(flag, getattr(self, flag), 0.0, 1.0)
            require_positive(flag, getattr(self, flag))
        require_range("dropout", self.dropout, 0.0, 0.9)
        require_range("curriculum_share", self.curriculum_share, 0.01, 1.0)
        require(len(self.fusion_inputs) > 0, "--fusion_inputs needs at least one input.")
        require(
            len(set(self.fusion_inputs)) == len(self.fusion_inputs),
            f"--fusion_inputs {' '.join(self.fusion_inputs)} names an input twice.",
        )
        require(
            not (self.matched_direct and self.use_two_branch),
            "--matched_direct and --use_two_branch are two forms of direct prediction: give one.",
        )
        require(
            not self.antonym_prompts or (self.residual_learning and self.base_init == "unit"),
            "--antonym_prompts replace the bases of residual learning: leave out"
            " --no_residual_learning and --base_init fit.",
        )


@dataclass(frozen=True)
class RefinementConfig:
    """The refinement of a coarse consistency score (direct mode only)."""

    use_refinement: bool = False
    """A small transformer reads [img, txt, coarse c] and predicts a correction."""
    refinement_layers: int = 2
    """Layers of the refinement transformer."""
    refinement_heads: int = 4
    """Attention heads of the refinement transformer."""
    refinement_dim: int = 256
    """Width of the refinement transformer."""
    strict_residual: bool = True
    """Supervise the correction itself, beside the refined score."""

    def __post_init__(self) -> None:
        """Check that the width divides into the heads."""
        for flag in ("refinement_layers", "refinement_heads", "refinement_dim"):
            require_positive(flag, getattr(self, flag))
        require(
            self.refinement_dim % self.refinement_heads == 0,
            f"--refinement_dim {self.refinement_dim} does not divide into"
            f" --refinement_heads {self.refinement_heads}.",
        )
