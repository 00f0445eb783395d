"""Recipes: a few flags for much data, some, little, and a first look."""

from typing import Any

from qa_core.modes import BackboneSpec

RECIPES: dict[str, dict[str, Any]] = {
    "plenty": {
        "partial_freeze": True,
        "freeze_layers": 18,
        "residual_scale_q": 0.2,
        "residual_scale_c": 0.2,
        "epochs": 20,
        "batch_size": 32,
        "lr": 3e-5,
    },
    "medium": {
        "partial_freeze": True,
        "freeze_layers": 19,
        "residual_scale_q": 0.15,
        "residual_scale_c": 0.15,
        "epochs": 25,
        "batch_size": 32,
        "lr": 2e-5,
    },
    "scarce": {
        "partial_freeze": True,
        "freeze_layers": 20,
        "residual_scale_q": 0.1,
        "residual_scale_c": 0.1,
        "epochs": 30,
        "batch_size": 16,
        "lr": 1e-5,
    },
    "quick": {"freeze_clip": True, "epochs": 10, "batch_size": 64, "lr": 1e-3},
}
"""The guide's recipes, on 24 blocks: `plenty` for more than 3,000 images, `scarce` for fewer than
1,000, `quick` for a first look. It has none between; `medium` is ours, halfway between the two."""

_RECIPE_DEPTH = 24
_RECIPE_DEPTHS_OF_12 = {18: 8, 19: 9, 20: 10}
_FREEZE_KINDS = ("freeze_clip", "partial_freeze")


def apply_recipe(config_flags: dict[str, Any], recipe: str, spec: BackboneSpec) -> dict[str, Any]:
    """Flags of a recipe at this backbone's depth and rates, overridden by the flags given.

    Args:
        config_flags: Flags given on the command line, by name.
        recipe: A name of `RECIPES`.
        spec: The backbone; off 24 blocks the recipe's depth is the same share of the tower.
    """
    flags = dict(RECIPES[recipe])
    kinds = {kind: config_flags[kind] for kind in _FREEZE_KINDS if kind in config_flags}
    if any(flags.get(kind, False) != asked for kind, asked in kinds.items()):
        # its rate belongs to its way of freezing
        left_out = (*_FREEZE_KINDS, "freeze_layers", "lr")
        flags = {name: value for name, value in flags.items() if name not in left_out}
    if "freeze_layers" in flags:
        flags["freeze_layers"] = _recipe_depth(flags["freeze_layers"], spec.image_depth)
    if not spec.published:
        flags.pop("lr", None)
    return flags | config_flags


def _recipe_depth(layers: int, depth: int) -> int:
    if depth == 12:
        return _RECIPE_DEPTHS_OF_12[layers]
    return round(layers / _RECIPE_DEPTH * depth)
