"""The knobs of each mode and the guide's place among them."""

import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from qa_core.arms import MODES
from qa_core.config import run_config_from_flat, with_settings
from qa_core.modes import BackboneSpec, freezing
from qa_core.targets import Target
from studies.ablation import confirmation_settings
from studies.cells import _job_name
from studies.confirmation import ConfirmationWork
from studies.space import expected_cost, mode_space

TINY = BackboneSpec(image_depth=12, text_depth=4, published=False)
LARGE = BackboneSpec(image_depth=24, text_depth=12, published=True)
BASE = run_config_from_flat({"epochs": 3})
SCALES = {"residual_scale_q", "residual_scale_c"}


@pytest.mark.parametrize(
    ("mode", "knobs"),
    [
        ("traditional", {"lr"}),
        ("residual", {"lr", *SCALES}),
        ("residual_partial_freeze", {"lr", "freeze_layers", *SCALES}),
        ("linear_probe", {"lr", *SCALES}),
    ],
)
def test_a_mode_is_searched_over_the_knobs_it_has(mode: str, knobs: set[str]) -> None:
    assert set(mode_space(mode, BASE, TINY).distributions) == knobs
    on_quality = mode_space(mode, BASE, TINY, (Target.QUALITY,))
    assert set(on_quality.distributions) == knobs - {"residual_scale_c"}


@pytest.mark.parametrize("spec", [TINY, LARGE])
@pytest.mark.parametrize("mode", MODES)
def test_the_guides_setting_lies_within_every_range(mode: str, spec: BackboneSpec) -> None:
    space = mode_space(mode, BASE, spec)
    for name, value in space.guide_values.items():
        assert space.distributions[name]._contains(value), name
    assert space.config(space.guide_values) == space.guide


def test_depth_leaves_none_and_all_to_other_modes() -> None:
    depth = mode_space("residual_partial_freeze", BASE, LARGE).distributions["freeze_layers"]
    assert depth == IntDistribution(1, 23)


def test_the_rate_is_searched_on_a_log_scale_within_the_recommended_range() -> None:
    rate = mode_space("linear_probe", BASE, LARGE).distributions["lr"]
    assert rate == FloatDistribution(1e-3, 5e-3, log=True)


def test_values_change_the_configuration_and_nothing_else() -> None:
    space = mode_space("residual_partial_freeze", BASE, TINY)
    changed = space.config({"freeze_layers": 5, "lr": 2e-4}).flat()
    guide = space.guide.flat()
    assert {name for name in guide if guide[name] != changed[name]} == {"freeze_layers", "lr"}


def test_seeds_are_cells_of_their_own_at_the_same_setting() -> None:
    spaces = {"residual": mode_space("residual", BASE, TINY)}
    settings = confirmation_settings(spaces, {"residual": "run"}, {}, n_seeds=3)
    assert [setting.config.train.seed for setting in settings] == [0, 1, 2]
    (same,) = {with_settings(setting.config, seed=0) for setting in settings}
    assert same == spaces["residual"].guide
    names = {_job_name(ConfirmationWork(setting, 4)) for setting in settings}
    assert names == {
        "confirm residual guide 4",
        "confirm residual guide 4 seed 1",
        "confirm residual guide 4 seed 2",
    }


def test_a_mode_that_trains_more_is_expected_to_cost_more() -> None:
    costs = {
        freezing(space.guide): expected_cost(space.guide, TINY, 100)
        for space in (mode_space(mode, BASE, TINY) for mode in MODES)
    }
    assert costs["none"] > costs["partial"] > costs["all"] > 0
