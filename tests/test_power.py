"""Powers before the run against runs, and against scipy's noncentral t."""

import numpy as np
import pytest
from scipy import stats

from reports.inference.decisions import p_same
from reports.inference.estimates import Estimate, from_replicates
from reports.inference.power import (
    power_of_difference,
    power_of_same,
    prompts_needed,
    smallest_difference,
    smallest_margin,
)


@pytest.mark.parametrize(("degrees", "alpha"), [(1, 0.05), (9, 0.05), (9, 0.0125), (223, 0.05)])
def test_power_is_the_noncentral_ts(degrees: int, alpha: float) -> None:
    found = power_of_difference(0.03, 0.01, degrees, alpha)
    quantile = stats.t.ppf(1 - alpha / 2, degrees)
    assert found == pytest.approx(stats.nct.sf(quantile, degrees, 3.0), abs=2e-3)


def test_the_smallest_difference_and_margin_are_shown_in_four_of_five_runs() -> None:
    rng, n, sd = np.random.default_rng(1), 10, 0.02
    error, degrees = sd / np.sqrt(n), n - 1
    difference, margin = (f(error, degrees) for f in (smallest_difference, smallest_margin))
    called, same = [], []
    for noise in sd * rng.normal(size=(4000, n)):
        lifted, equal = from_replicates(difference + noise), from_replicates(noise)
        assert lifted is not None and equal is not None
        called.append(lifted.bounds()[0] > 0)
        same.append(p_same(equal, margin) <= 0.05)
    assert np.mean(called) == pytest.approx(0.8, abs=0.02)
    assert np.mean(same) == pytest.approx(0.8, abs=0.02)


def test_a_difference_makes_the_same_harder_to_show() -> None:
    assert power_of_same(0.02, 0.005, 50, difference=0.01) < power_of_same(0.02, 0.005, 50)
    assert power_of_same(0.001, 0.005, 50) == pytest.approx(0, abs=1e-3)


def test_no_error_shows_everything() -> None:
    assert smallest_difference(0.0, 9) == 0.0


def test_prompts_needed_halve_the_error_fourfold() -> None:
    assert prompts_needed(0.04, 0.02, 224) == 896
    assert prompts_needed(0.02, 0.02, 224) == 224
    margin = smallest_margin(0.01, 223)
    n = prompts_needed(margin, 0.02, 224)
    error = 0.01 * np.sqrt(224 / n)
    assert smallest_margin(error, n - 1) == pytest.approx(0.02, rel=0.02)


def test_an_estimate_knows_both_its_sides() -> None:
    found = Estimate(0.01, 0.005, 100, 10, "paired_t")
    assert found.p_above(0.0) + found.p_below(0.0) == pytest.approx(1)
