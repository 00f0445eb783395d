"""Modes, recipes and defaults by mode and backbone."""

from typing import Any

import pytest

from qa_core.arms import CONTROLS, MODES
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.errors import UserError
from qa_core.modes import (
    BackboneSpec,
    canonical_freeze_layers,
    checkpoint_name,
    mode_config,
    mode_name,
    resolve,
    warnings,
)
from qa_core.recipes import apply_recipe

TINY = BackboneSpec(12, 4, published=False)
VIT_B = BackboneSpec(12, 12, published=True)
VIT_L = BackboneSpec(24, 12, published=True)


def resolved(spec: BackboneSpec = VIT_L, **flags: Any) -> RunConfig:
    return resolve(run_config_from_flat(flags), spec)


def test_canonical_depths() -> None:
    assert [canonical_freeze_layers(depth) for depth in (12, 24, 32, 4)] == [8, 18, 24, 3]


@pytest.mark.parametrize("mode", MODES | CONTROLS)
def test_a_mode_resolves_to_itself_and_resolving_is_idempotent(mode: str) -> None:
    config = mode_config(mode, RunConfig(), VIT_L)
    assert mode_name(config) == mode
    assert resolve(config, VIT_L) == config


def test_the_guides_rates_on_published_backbones() -> None:
    assert resolved().optim.lr == 3e-5
    assert resolved().optim.lr_head == 1e-3
    assert resolved(freeze_clip=True).optim.lr == 1e-3
    assert resolved(freeze_clip=True).optim.lr_head is None
    assert resolved(TINY).optim.lr == 1e-4


def test_depth_beyond_the_tower_suggests_the_canonical_one() -> None:
    with pytest.raises(UserError, match=r"12 blocks.* 8"):
        resolved(VIT_B, partial_freeze=True, freeze_layers=18)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ({"residual_learning": False}, "baseline_best.pt"),
        (
            {"residual_learning": False, "matched_direct": True},
            "baseline_matched_direct_best.pt",
        ),
        ({}, "baseline_residual_best.pt"),
        ({"partial_freeze": True}, "baseline_residual_partial_freeze_18L_best.pt"),
        ({"freeze_clip": True}, "baseline_residual_linear_probe_best.pt"),
        ({"residual_learning": False, "use_refinement": True}, "baseline_refinement_best.pt"),
        (
            {"residual_learning": False, "partial_freeze": True, "freeze_layers": 20},
            "baseline_partial_freeze_20L_best.pt",
        ),
        ({"residual_learning": False, "freeze_clip": True}, "baseline_linear_probe_best.pt"),
    ],
)
def test_checkpoint_names(flags: dict, name: str) -> None:
    assert checkpoint_name(resolved(**flags)) == name


def test_recipes_scale_to_the_depth_and_yield_to_flags() -> None:
    assert apply_recipe({}, "plenty", VIT_L)["freeze_layers"] == 18
    assert apply_recipe({}, "plenty", VIT_B)["freeze_layers"] == 8
    assert apply_recipe({}, "medium", VIT_B)["freeze_layers"] == 9
    assert apply_recipe({}, "scarce", VIT_B)["freeze_layers"] == 10
    assert apply_recipe({}, "scarce", BackboneSpec(32, 12, True))["freeze_layers"] == 27
    assert apply_recipe({"epochs": 3}, "scarce", VIT_L)["epochs"] == 3
    probe = apply_recipe({"freeze_clip": True}, "plenty", VIT_L)
    assert probe["freeze_clip"] and "partial_freeze" not in probe
    assert "lr" not in probe  # the recipe's rate is for a partial freeze
    deeper = apply_recipe({"partial_freeze": True, "freeze_layers": 12}, "plenty", VIT_L)
    assert (deeper["freeze_layers"], deeper["lr"]) == (12, 3e-5)
    assert "lr" not in apply_recipe({}, "plenty", TINY)


def test_warnings_are_given_and_recipes_are_exempt() -> None:
    def said(rate_of_recipe: bool = False, **flags: Any) -> str:
        given = run_config_from_flat(flags)
        return " ".join(warnings(given, resolve(given, VIT_L), VIT_L, rate_of_recipe))

    assert said() == ""
    assert "above 0.5" in said(residual_scale_q=0.6)
    assert "recommended" in said(lr=1e-3)
    assert "recommended" not in said(True, partial_freeze=True, lr=1e-5)
    assert "Refinement is switched off" in said(use_refinement=True)
    assert "--use_two_branch has no effect" in said(use_two_branch=True)
    idle = said(residual_learning=False, base_init="fit", residual_scale_q=0.3)
    assert "--base_init has no" in idle and "--residual_scale_q has no" in idle
    assert "RANDOM" in said(pretrained="none")
    assert not resolved(use_refinement=True).refinement.use_refinement
