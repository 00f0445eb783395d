"""Influences on SROCC against the jackknife, the definition and the spread of fresh samples."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from reports.inference.influence import Scored, score_part, srocc_influence

TIED = arrays(np.float64, 24, elements=st.integers(0, 5).map(float))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    found: Any = stats.spearmanr(x, y)
    return float(found.statistic)


def weighted_srocc(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """The functional itself, from its definition: correlation of mid-distribution values."""
    weights = weights / weights.sum()

    def grade(values: np.ndarray) -> np.ndarray:
        below = values[None, :] < values[:, None]
        equal = values[None, :] == values[:, None]
        return below @ weights + equal @ weights / 2

    u, v = grade(x) - 0.5, grade(y) - 0.5
    return float(weights @ (u * v) / np.sqrt((weights @ u**2) * (weights @ v**2)))


@settings(deadline=None)  # the shared machine may stall
@given(TIED, TIED)
def test_influence_is_the_derivative_of_the_functional(x: np.ndarray, y: np.ndarray) -> None:
    """With ties, against a brute-force numerical derivative along one image more."""
    assume(np.ptp(x) > 0 and np.ptp(y) > 0)
    rho, influence = srocc_influence(x, y)
    assert rho == pytest.approx(spearman(x, y), abs=1e-12)
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    step = 1e-5
    for i in (0, 11):
        more, less = np.full(x.size, 1 / x.size), np.full(x.size, 1 / x.size)
        more[i] += step
        less[i] -= step
        # one image more by `step`, of a total that grows with it
        slope = (weighted_srocc(x, y, more) - weighted_srocc(x, y, less)) / (2 * step)
        assert influence[i] == pytest.approx(slope, abs=1e-5)


def test_without_ties_it_is_croux_and_dehons_formula() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = x + rng.normal(size=400)
    u, v = ((stats.rankdata(values) - 0.5) / 400 for values in (x, y))
    v_above = np.array([np.mean(v * (1.0 * (x > own) + 0.5 * (x == own))) for own in x])
    u_above = np.array([np.mean(u * (1.0 * (y > own) + 0.5 * (y == own))) for own in y])
    rho, influence = srocc_influence(x, y)
    expected = 12 * (u * v + v_above + u_above) - 3 * rho - 9
    np.testing.assert_allclose(influence, expected - expected.mean(), atol=1e-3)
    assert np.corrcoef(influence, expected)[0, 1] > 0.999999


@pytest.mark.parametrize("ties", [False, True])
def test_it_agrees_with_the_delete_one_jackknife(ties: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=225)
    y = x + rng.normal(size=225)
    if ties:
        x, y = np.round(2 * x), np.round(y)
    rho, influence = srocc_influence(x, y)
    without = [spearman(np.delete(x, i), np.delete(y, i)) for i in range(x.size)]
    jackknife = (x.size - 1) * (rho - np.array(without))
    assert np.corrcoef(influence, jackknife)[0, 1] > 0.9999
    assert np.std(influence) == pytest.approx(np.std(jackknife), rel=0.02)


def test_a_constant_has_no_influence_and_no_score() -> None:
    with pytest.raises(ValueError, match="constant"):
        srocc_influence([1, 1, 1], [1, 2, 3])
    assert score_part([1, 1, 1], [1, 2, 3], np.array([0, 1, 2]), 3) is None
    assert score_part([1, 2, 3], [1, 2, 3], np.array([1, 1, 1]), 3) is None  # one prompt alone


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(ValueError, match="not paired"):
        srocc_influence([1, 2], [1, 2, 3])


def test_shares_give_the_variance_of_a_score_over_fresh_prompts() -> None:
    """Images of a prompt go together: the truth is the spread over 1,500 samples of prompts."""
    rng = np.random.default_rng(2)
    prompt_of = np.repeat(np.arange(45), 5)
    scores, variances = [], []
    for _ in range(1500):
        mos = 0.7 * rng.normal(size=45)[prompt_of] + rng.normal(size=225)
        prediction = mos + 0.6 * rng.normal(size=45)[prompt_of] + 0.6 * rng.normal(size=225)
        found = score_part(prediction, mos, prompt_of, 45)
        assert found is not None
        scores.append(found.score)
        variances.append(np.sum(found.shares**2))
    assert np.mean(variances) == pytest.approx(np.var(scores), rel=0.1)


def test_scores_combine_with_their_shares() -> None:
    first, second = Scored(0.5, np.array([1.0, -1.0])), Scored(0.3, np.array([0.5, -0.5]))
    found = (first - second + second) * 2
    assert found.score == pytest.approx(1.0)
    np.testing.assert_allclose(found.shares, [2.0, -2.0])
