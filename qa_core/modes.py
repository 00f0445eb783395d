"""Configurations of modes and arms, and every default that depends on mode or backbone."""

import os
from dataclasses import astuple, dataclass, replace
from math import prod
from typing import Any, Literal

from qa_core.arms import ARMS, CONTROLS, MODES, Mode, find_mode, flags_of
from qa_core.config import RunConfig, run_config_from_flat, with_settings
from qa_core.errors import UserError
from qa_core.targets import TARGETS

Freezing = Literal["none", "partial", "all"]
TowerName = Literal["image", "text"]

GUIDE_HEAD_LR = 1e-3
"""Rate of the heads wherever CLIP trains: at a backbone's rate they would hardly move."""


@dataclass(frozen=True)
class LearningRates:
    """The rate that `--lr` names: the guide's value and the range it recommends."""

    guide: float
    low: float
    high: float


# The guide's own ranges, for the published ViT-B and ViT-L backbones.
PUBLISHED_RATES: dict[Freezing, LearningRates] = {
    "none": LearningRates(3e-5, 1e-5, 5e-5),
    "partial": LearningRates(3e-5, 3e-5, 1e-4),
    "all": LearningRates(1e-3, 1e-3, 5e-3),
}
# The embedded backbone is some hundred times smaller and takes larger steps.
TINY_RATES: dict[Freezing, LearningRates] = {
    "none": LearningRates(1e-4, 3e-5, 3e-4),
    "partial": LearningRates(1e-4, 3e-5, 5e-4),
    "all": LearningRates(1e-3, 1e-3, 5e-3),
}


@dataclass(frozen=True)
class BackboneSpec:
    """What the defaults need to know of a backbone.

    Attributes:
        image_depth: Transformer blocks of the image tower.
        text_depth: Transformer blocks of the text tower.
        published: False for the embedded tiny backbone, which has its own learning rates.
    """

    image_depth: int
    text_depth: int
    published: bool

    @property
    def rates(self) -> dict[Freezing, LearningRates]:
        """Learning rates by how much of CLIP is frozen."""
        return PUBLISHED_RATES if self.published else TINY_RATES


def recommended_rates(config: RunConfig, spec: BackboneSpec) -> LearningRates:
    """Recommended `--lr` for what is frozen, the backbone, and the flags of modes and arms."""
    factors = [
        record.rate_factor
        for record in (*MODES.values(), *ARMS.values())
        if record.rate_factor != 1 and has_flags(config, record)
    ]
    return LearningRates(*(prod(factors) * rate for rate in astuple(spec.rates[freezing(config)])))


def has_flags(config: RunConfig, record: Mode) -> bool:
    """Whether a configuration has the flags of a mode or arm.

    A flag that tuning may change counts as set at any value but its default.
    """
    own, default = config.flat(), RunConfig().flat()
    return all(
        own[name] != default[name] if name in record.knobs else own[name] == value
        for name, value in record.flags.items()
    )


def canonical_freeze_layers(depth: int) -> int:
    """Number of blocks that `--partial_freeze` alone freezes: 8 of 12, 18 of 24, else 3/4."""
    return {12: 8, 24: 18}.get(depth, round(0.75 * depth))


def freezing(config: RunConfig) -> Freezing:
    """How much of CLIP a configuration freezes."""
    if config.freeze.freeze_clip:
        return "all"
    return "partial" if config.freeze.partial_freeze else "none"


def trains_blocks(config: RunConfig, tower: TowerName) -> bool:
    """Whether anything in the blocks of a tower may train, how many so ever are frozen."""
    return freezing(config) != "all" and config.freeze.train_only in ("all", "bias_norm", tower)


def frozen_blocks(config: RunConfig, depth: int, tower: TowerName = "image") -> int:
    """How many blocks of a tower of this depth a configuration freezes, at either end."""
    if not trains_blocks(config, tower):
        return depth
    freeze = config.freeze
    own = {"image": freeze.freeze_image_layers, "text": freeze.freeze_text_layers}[tower]
    asked = (freeze.freeze_layers or 0) if own is None else own
    return min(asked, depth) if freezing(config) == "partial" else 0


def prefix_blocks(config: RunConfig, depth: int, tower: TowerName = "image") -> int:
    """How many of a tower's first blocks are frozen, so that a batch may enter behind them."""
    from_top = config.freeze.freeze_from == "top" and trains_blocks(config, tower)
    return 0 if from_top else frozen_blocks(config, depth, tower)


def freezing_of(name: str) -> Freezing:
    """How much of CLIP a mode or arm freezes; "none" where the name is of neither."""
    flags = flags_of(name) if find_mode(name) else {}
    return freezing(run_config_from_flat(flags))


def mode_name(config: RunConfig) -> str:
    """The mode of a configuration, or a name of the same form where it is none of the modes.

    Where several modes fit, it is the one with the most flags.
    """
    known = MODES | CONTROLS
    fitting = [name for name, record in known.items() if _is_of_mode(config, record)]
    if fitting:
        return max(fitting, key=lambda name: len(known[name].flags))
    frozen = {"none": "", "partial": "_partial_freeze", "all": "_linear_probe"}[freezing(config)]
    form = "residual" if config.head.residual_learning else "traditional"
    return ("refinement" if _refines(config) else form) + frozen


def _is_of_mode(config: RunConfig, record: Mode) -> bool:
    """Whether a configuration predicts and freezes as a mode does, and has its flags."""
    plain = run_config_from_flat(record.flags)
    return (
        freezing(config) == freezing(plain)
        and config.head.residual_learning == plain.head.residual_learning
        and _refines(config) == _refines(plain)
        and has_flags(config, record)
    )


def _refines(config: RunConfig) -> bool:
    return config.refinement.use_refinement and not config.head.residual_learning


def checkpoint_name(config: RunConfig) -> str:
    """File name of the best checkpoint of a resolved configuration."""
    direct = "_matched_direct" if config.head.matched_direct else ""
    form = "_residual" if config.head.residual_learning else direct
    form = "_refinement" if config.refinement.use_refinement else form
    frozen = {
        "none": "",
        "partial": f"_partial_freeze_{config.freeze.freeze_layers}L",
        "all": "_linear_probe",
    }[freezing(config)]
    return f"baseline{form}{frozen}_best.pt"


def resolve(config: RunConfig, spec: BackboneSpec) -> RunConfig:
    """Fill the defaults that depend on mode, backbone and machine; idempotent.

    Raises:
        UserError: More blocks are to be frozen than a tower has.
    """
    changes: dict[str, Any] = {}
    rates = recommended_rates(config, spec)
    if config.optim.lr is None:
        changes["lr"] = rates.guide
    if config.optim.lr_head is None and freezing(config) != "all":
        changes["lr_head"] = GUIDE_HEAD_LR
    if config.train.threads is None:
        # heads alone are too small to share among threads
        changes["threads"] = 1 if freezing(config) == "all" else len(os.sched_getaffinity(0))
    if config.freeze.partial_freeze:
        freeze = config.freeze
        _refuse_beyond("image", "freeze_layers", freeze.freeze_layers, spec.image_depth)
        _refuse_beyond("image", "freeze_image_layers", freeze.freeze_image_layers, spec.image_depth)
        _refuse_beyond("text", "freeze_text_layers", freeze.freeze_text_layers, spec.text_depth)
        if freeze.freeze_layers is None:
            changes["freeze_layers"] = canonical_freeze_layers(spec.image_depth)
    if config.head.residual_learning and config.refinement.use_refinement:
        changes["use_refinement"] = False
    return with_settings(config, **changes) if changes else config


def _refuse_beyond(tower: TowerName, flag: str, asked: int | None, depth: int) -> None:
    if asked is not None and asked > depth:
        raise UserError(
            f"--{flag} {asked} is more than the {depth} blocks of this {tower} tower;"
            f" the canonical depth here is {canonical_freeze_layers(depth)}."
        )


def mode_config(name: str, base: RunConfig, spec: BackboneSpec, **flags: Any) -> RunConfig:
    """The guide's setting of a mode, or an arm at its own values, but for `flags`.

    Args:
        name: The mode or arm.
        base: Where other settings come from.
        spec: The backbone.
        flags: Settings that come on top.
    """
    neutral = replace(base, freeze=type(base.freeze)(), optim=replace(base.optim, lr_head=None))
    return resolve(with_settings(neutral, **(flags_of(name) | flags)), spec)


def warnings(
    given: RunConfig, resolved: RunConfig, spec: BackboneSpec, rate_of_recipe: bool = False
) -> list[str]:
    """Sentences about settings that are allowed but do nothing, or are outside the guide's advice.

    Args:
        given: The configuration as asked for.
        resolved: The same, resolved.
        spec: The backbone.
        rate_of_recipe: Whether a recipe of the guide set the learning rate, which is then exempt.
    """
    found = _without_effect(given)
    if given.refinement.use_refinement and given.head.residual_learning:
        found.append(
            "Refinement is switched off: it corrects a direct prediction, and residual learning"
            " is on. Add --no_residual_learning to use it."
        )
    for target in TARGETS:
        scale = getattr(resolved.head, target.scale)
        if resolved.head.residual_learning and scale > 0.5:
            found.append(
                f"--{target.scale} {scale:g} is above 0.5: the correction can override"
                " the base, which defeats the purpose of bounding it."
            )
    if not rate_of_recipe:
        found += rate_advice(resolved, spec)
    if given.clip.pretrained == "none":
        found.append("RANDOM WEIGHTS: the towers know nothing, and neither will the scores.")
    return found


def rate_advice(resolved: RunConfig, spec: BackboneSpec) -> list[str]:
    """A sentence where the rate is outside what the guide recommends for this mode."""
    rates, lr = recommended_rates(resolved, spec), resolved.optim.lr
    if lr is None or rates.low <= lr <= rates.high:
        return []
    return [
        f"--lr {lr:g} is outside the recommended {rates.low:g} to {rates.high:g} for this mode"
        " and backbone."
    ]


def _without_effect(given: RunConfig) -> list[str]:
    """Sentences about flags that differ from their default and change nothing in this form."""
    head, plain = given.head, type(given.head)()
    if head.residual_learning:
        idle, why = (
            ("use_two_branch", "matched_direct"),
            "it shapes a direct prediction, and residual learning is on",
        )
    else:
        idle = ("base_init", "scale_schedule", "residual_scale_q", "residual_scale_c")
        why = "it shapes a correction, and --no_residual_learning leaves none"
    changed = [name for name in idle if getattr(head, name) != getattr(plain, name)]
    return [f"--{name} has no effect: {why}." for name in changed]
