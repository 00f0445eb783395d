"""Further arms: ways to keep what CLIP knows and other variants, each a mode with a few flags more.

An arm is tuned and confirmed as the canonical modes are, with as many trials and epochs, and is
compared with the mode that it modifies. The guide's claims are about the four modes alone.
"""

from dataclasses import dataclass, field
from typing import Any

from qa_core.config import RunConfig
from qa_core.errors import UserError
from qa_core.modes import BackboneSpec, mode_config


@dataclass(frozen=True)
class Arm:
    """A canonical mode, modified.

    Attributes:
        of: The mode that it modifies.
        words: What it does.
        flags: The flags that make it, on top of the mode's.
        knobs: Range (low, high) of those that tuning may change beside the mode's own.
    """

    of: str
    words: str
    flags: dict[str, Any]
    knobs: dict[str, tuple[float, float]] = field(default_factory=dict)


ARMS: dict[str, Arm] = {
    # Kumar et al., "Fine-Tuning can Distort Pretrained Features" (ICLR 2022)
    "lp_ft": Arm(
        "residual",
        "LP-FT: the heads train alone for a quarter of the epochs, then everything",
        {"probe_share": 0.25},
        {"probe_share": (0.125, 0.5)},
    ),
    # Bao et al., "BEiT" (ICLR 2022), appendix: .75 at this size; Dong et al., arXiv 2212.06138
    "llrd": Arm(
        "residual",
        "layer-wise rate decay: each block learns at .75 of the rate of the one above it",
        {"layer_decay": 0.75},
        {"layer_decay": (0.5, 0.95)},
    ),
    "ema": Arm(
        "residual",
        "an exponential average of the weights (.98 a step) is validated and tested",
        {"ema_decay": 0.98},
        {"ema_decay": (0.9, 0.995)},
    ),
    # Wortsman et al., "Robust fine-tuning of zero-shot models" (CVPR 2022)
    "wise_ft": Arm(
        "residual",
        "WiSE-FT: weights interpolated with the pretrained ones, how far chosen on validation",
        {"wise_ft": True},
    ),
    # Hu et al., "LoRA" (ICLR 2022)
    "lora": Arm(
        "residual",
        "LoRA: changes of rank 8 to the matrices of all blocks; CLIP itself stays as it is",
        {"lora_rank": 8},
        {"lora_rank": (2, 32)},
    ),
    "learnable_scale": Arm(
        "residual",
        "the residual scales are learnt, from the guide's value on",
        {"scale_schedule": "learnable"},
    ),
    "curriculum_scale": Arm(
        "residual",
        "the residual scales grow from 0 to their value over the first half of training",
        {"scale_schedule": "curriculum"},
        {"curriculum_share": (0.25, 1.0)},
    ),
    # Peng et al., "AIGC Image Quality Assessment via Image-Prompt Correspondence" (CVPRW 2024)
    "antonym_heads": Arm(
        "residual",
        "the bases are expectations over five prompts each, from bad to perfect",
        {"antonym_prompts": True},
    ),
}


def arm_config(arm: str, base: RunConfig, spec: BackboneSpec) -> RunConfig:
    """The configuration of an arm at its own values, other settings at the guide's."""
    return mode_config(ARMS[arm].of, base, spec, **ARMS[arm].flags)


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
