"""The four canonical modes, their control and further arms: one record each, read by all else.

A mode is a set of flags with a name. An arm is a mode with a few flags more: it is tuned and
confirmed as the modes are, with as many trials and epochs, and is compared with the mode that it
modifies.
"""

from dataclasses import dataclass, field
from typing import Any

from qa_core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A way to train CLIP, and how tables and figures show it.

    Attributes:
        label: Its name in tables and figures.
        short: The same where room is scarce; by default the label.
        colour: Its colour in every figure, in hexadecimal digits.
        marker: Its marker in every figure, by matplotlib's letter.
        flags: The flags that make it, on top of the defaults.
        knobs: Range (low, high) of those that tuning may change beside depth, scales and rate
            (whole numbers, and what spans a decade, on a log scale).
        rate_factor: Factor that its flags put on the recommended learning rates.
    """

    label: str
    short: str = ""
    colour: str
    marker: str
    flags: dict[str, Any] = field(default_factory=dict)
    knobs: dict[str, tuple[float, float]] = field(default_factory=dict)
    rate_factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Arm(Mode):
    """A canonical mode, modified; its flags come on top of the mode's.

    Attributes:
        of: The mode that it modifies.
        words: What it does.
    """

    of: str
    words: str


# The colours: Okabe and Ito's palette (2008), told apart with any common colour vision, and what
# fits beside it; the marker repeats the colour.
MODES: dict[str, Mode] = {
    "traditional": Mode(
        label="traditional",
        colour="#d55e00",
        marker="s",
        flags={"residual_learning": False},
    ),
    "residual": Mode(
        label="residual",
        colour="#0072b2",
        marker="o",
    ),
    "residual_partial_freeze": Mode(
        label="residual + partial freeze",
        short="partial freeze",
        colour="#009e73",
        marker="^",
        flags={"partial_freeze": True},
    ),
    "linear_probe": Mode(
        label="linear probe",
        colour="#a0568a",
        marker="D",
        flags={"freeze_clip": True},
    ),
}
"""The modes by name, in the order of tables and figures."""

CONTROLS: dict[str, Mode] = {
    "matched_direct": Mode(
        label="matched direct (control)",
        short="matched direct",
        colour="#7f7f7f",
        marker="d",
        flags={"residual_learning": False, "matched_direct": True},
    ),
}
"""Controls by name, run beside the modes in every ablation. Residual minus matched direct is what
the bound contributes; matched direct minus traditional is what the skip connection and the start
contribute."""

BASELINE = "traditional"
"""The mode beside which figures set the others: direct prediction, nothing frozen."""

ARMS: dict[str, Arm] = {
    # Kumar et al., "Fine-Tuning can Distort Pretrained Features" (ICLR 2022)
    "lp_ft": Arm(
        of="residual",
        label="LP-FT",
        words="LP-FT: the heads train alone for a quarter of the epochs, then everything",
        colour="#56b4e9",
        marker="v",
        flags={"probe_share": 0.25},
        knobs={"probe_share": (0.125, 0.5)},
    ),
    # Bao et al., "BEiT" (ICLR 2022), appendix: .75 at this size; Dong et al., arXiv 2212.06138
    "llrd": Arm(
        of="residual",
        label="layer-wise rates",
        words="layer-wise rate decay: each block learns at .75 of the rate of the one above it",
        colour="#e69f00",
        marker="<",
        flags={"layer_decay": 0.75},
        knobs={"layer_decay": (0.5, 0.95)},
    ),
    "ema": Arm(
        of="residual",
        label="weight average",
        words="an exponential average of the weights (.98 a step) is validated and tested",
        colour="#6a51a3",
        marker=">",
        flags={"ema_decay": 0.98},
        knobs={"ema_decay": (0.9, 0.995)},
    ),
    # Wortsman et al., "Robust fine-tuning of zero-shot models" (CVPR 2022)
    "wise_ft": Arm(
        of="residual",
        label="WiSE-FT",
        words="WiSE-FT: weights interpolated with the pretrained ones, how far chosen on"
        " validation",
        colour="#b2182b",
        marker="P",
        flags={"wise_ft": True},
    ),
    # Hu et al., "LoRA" (ICLR 2022); ten times the rate: Schulman et al. 2025, "LoRA Without Regret"
    "lora": Arm(
        of="residual",
        label="LoRA",
        words="LoRA: changes of rank 8 to the matrices of all blocks; CLIP itself stays as it is",
        colour="#4d4d4d",
        marker="X",
        flags={"lora_rank": 8},
        knobs={"lora_rank": (2, 32)},
        rate_factor=10,
    ),
    # Houlsby et al., "Parameter-Efficient Transfer Learning for NLP" (ICML 2019): 64 of 768
    "adapter": Arm(
        of="residual",
        label="adapters",
        words="adapters: small networks behind attention and MLP of every block train, and the"
        " norms; the rest of CLIP stays as it is",
        colour="#2f4b7c",
        marker="$A$",
        flags={"adapter_reduction": 12},
        knobs={"adapter_reduction": (3, 48)},
        rate_factor=10,
    ),
    # Ben Zaken et al., "BitFit" (ACL 2022); Li et al., "CLIPFit" (EMNLP 2024, arXiv 2409.16718)
    "bias_norm": Arm(
        of="residual",
        label="biases and norms",
        words="BitFit: of CLIP only biases and norms train",
        colour="#17a2b8",
        marker="$B$",
        flags={"train_only": "bias_norm"},
        rate_factor=10,
    ),
    # Fahes et al., "ProLIP" (arXiv 2410.05270)
    "projection": Arm(
        of="residual",
        label="projections",
        words="ProLIP: of CLIP only both projections train, drawn to where they started",
        colour="#e377c2",
        marker="$P$",
        flags={"train_only": "projection", "l2_sp": 0.001},
        knobs={"l2_sp": (0.0001, 0.1)},
        rate_factor=10,
    ),
    # After LDIFS: Mukhoti et al., "Fine-tuning can cripple your foundation model" (TMLR 2024)
    "anchor": Arm(
        of="residual",
        label="anchored",
        words="everything trains, and both embeddings are drawn to those of the pretrained CLIP",
        colour="#6b8e23",
        marker="$N$",
        flags={"anchor": 0.01},
        knobs={"anchor": (0.001, 1.0)},
    ),
    # Li et al., "Explicit Inductive Bias for Transfer Learning" (ICML 2018)
    "l2_sp": Arm(
        of="residual",
        label="L2-SP",
        words="L2-SP: everything trains, and CLIP's weights decay towards where they started",
        colour="#bcbd22",
        marker="$L$",
        flags={"l2_sp": 0.01},
        knobs={"l2_sp": (0.001, 1.0)},
    ),
    # Lee et al., "Surgical Fine-Tuning Improves Adaptation to Distribution Shifts" (ICLR 2023)
    "top_frozen": Arm(
        of="residual_partial_freeze",
        label="frozen from the top",
        words="surgical fine-tuning: the stem and the first blocks train, the last ones are frozen",
        colour="#2e7d32",
        marker="$T$",
        flags={"freeze_from": "top"},
    ),
    "image_only": Arm(
        of="residual",
        label="image tower",
        words="the image tower trains, the text tower is frozen",
        colour="#c2185b",
        marker="$I$",
        flags={"train_only": "image"},
    ),
    "text_only": Arm(
        of="residual",
        label="text tower",
        words="the text tower trains, the image tower is frozen",
        colour="#795548",
        marker="$X$",
        flags={"train_only": "text"},
    ),
    # Wortsman et al., "Model soups" (ICML 2022)
    "soup": Arm(
        of="residual",
        label="model soup",
        words="model soup: the mean of the weights of three trainings from one start",
        colour="#393b79",
        marker="$S$",
        flags={"soup": 3},
    ),
    "learnable_scale": Arm(
        of="residual",
        label="learnt scales",
        words="the residual scales are learnt, from the guide's value on",
        colour="#8c6d31",
        marker="*",
        flags={"scale_schedule": "learnable"},
    ),
    "curriculum_scale": Arm(
        of="residual",
        label="growing scales",
        words="the residual scales grow from 0 to their value over the first half of training",
        colour="#9aa821",
        marker="h",
        flags={"scale_schedule": "curriculum"},
        knobs={"curriculum_share": (0.25, 1.0)},
    ),
    # Peng et al., "AIGC Image Quality Assessment via Image-Prompt Correspondence" (CVPRW 2024)
    "antonym_heads": Arm(
        of="residual",
        label="antonym heads",
        words="the bases are expectations over five prompts each, from bad to perfect",
        colour="#1b7f79",
        marker="p",
        flags={"antonym_prompts": True},
    ),
}
"""The further arms by name, in the order of tables and figures."""


def find_mode(name: str) -> Mode | None:
    """The record of a mode, control or arm; None where the name is of none."""
    return (MODES | CONTROLS | ARMS).get(name)


def flags_of(name: str) -> dict[str, Any]:
    """The flags that make a mode, control or arm, on top of the defaults; an arm's with its mode's.

    Raises:
        KeyError: The name is of none.
    """
    record = (MODES | CONTROLS | ARMS)[name]
    return MODES[record.of].flags | record.flags if isinstance(record, Arm) else record.flags


def parse_arms(text: str) -> tuple[str, ...]:
    """Names of arms, commas or blanks between them, in the registry's order; `all` means all.

    Raises:
        UserError: One is unknown; the sentence names those that exist.
    """
    asked = set(text.replace(",", " ").split())
    unknown = sorted(asked - ARMS.keys() - {"all"})
    if unknown:
        raise UserError(
            f"--arms {unknown[0]} is no arm; there are {', '.join(ARMS)}, and all for all of them."
        )
    return tuple(name for name in ARMS if name in asked or "all" in asked)
