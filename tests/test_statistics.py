"""The report's statistics against scipy, statsmodels, closed forms and their own laws."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.multitest import multipletests

from reports.statistics import (
    holm,
    holm_levels,
    iqm,
    nadeau_bengio_interval,
    paired_differences,
    prompt_bootstrap,
    share_of_splits_won,
    sign_flip_p,
    smallest_effect,
    srocc_of_columns,
    stratified_bootstrap,
)

P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)
SCORES = arrays(np.float64, st.integers(2, 12), elements=st.floats(-1, 1, width=32))


@settings(deadline=None)  # the shared machine may stall
@given(SCORES)
def test_iqm_is_scipys_trimmed_mean(values: np.ndarray) -> None:
    assert iqm(values) == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-12)


@settings(deadline=None, max_examples=25)  # statsmodels takes its time
@given(P_VALUES)
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    expected = np.asarray(multipletests(p_values, method="holm")[1], dtype=float)
    np.testing.assert_allclose(holm(p_values), expected, atol=1e-12)


@settings(deadline=None)  # the shared machine may stall
@given(P_VALUES)
def test_holm_never_lowers_a_p_value(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert (adjusted >= np.asarray(p_values)).all()
    assert (adjusted <= 1).all()


@settings(deadline=None)  # the shared machine may stall
@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=12))
def test_a_holm_interval_excludes_the_null_where_the_adjusted_p_is_small(p: list[float]) -> None:
    rejected = np.asarray(p) <= 1 - holm_levels(p, 0.05) + 1e-15
    close = np.isclose(holm(p), 0.05, rtol=1e-9)
    assert ((holm(p) <= 0.05) == rejected)[~close].all()


def test_with_factor_one_over_n_the_interval_is_the_ordinary_t_interval() -> None:
    values = np.array([0.01, 0.03, -0.01, 0.02, 0.05])
    found = nadeau_bengio_interval(values, 1 / values.size, level=0.9, null=0.01)
    expected: Any = stats.ttest_1samp(values, 0.01)
    low, high = expected.confidence_interval(0.9)
    assert (found.low, found.high, found.p) == pytest.approx((low, high, expected.pvalue))


def test_the_interval_widens_with_the_square_root_of_the_factor() -> None:
    values = [0.1, 0.2, 0.4, 0.3]
    narrow = nadeau_bengio_interval(values, 0.1)
    wide = nadeau_bengio_interval(values, 0.4)
    assert narrow.high is not None and wide.high is not None
    assert wide.high - wide.mean == pytest.approx(2 * (narrow.high - narrow.mean))


@settings(deadline=None)  # the shared machine may stall
@given(SCORES, st.floats(0.01, 1.0))
def test_the_interval_excludes_the_null_exactly_where_p_is_small(
    values: np.ndarray, factor: float
) -> None:
    found = nadeau_bengio_interval(values, factor)
    assert found.low is not None and found.high is not None and found.p is not None
    if abs(found.p - 0.05) > 1e-6:
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_a_single_split_has_no_spread() -> None:
    found = nadeau_bengio_interval([0.7], 0.4)
    assert (found.mean, found.low, found.high, found.n, found.p) == (0.7, None, None, 1, None)


def test_equal_values_leave_nothing_open() -> None:
    found = nadeau_bengio_interval([0.1] * 10, 0.4)
    assert (found.low, found.high, found.p) == (0.1, 0.1, 0.0)
    assert nadeau_bengio_interval([0.0] * 10, 0.4).p == 1.0


def test_coverage_under_the_overlap_that_it_assumes() -> None:
    """Splits correlated at n_test/n_eligible = .2/.7 need 1/J + .4, and then covers 95 %."""
    rng, rho, splits, repeats = np.random.default_rng(0), 0.2 / 0.7, 10, 4000
    shared = rng.normal(size=(repeats, 1)) * np.sqrt(rho)
    values = shared + rng.normal(size=(repeats, splits)) * np.sqrt(1 - rho)
    factor = 1 / splits + rho / (1 - rho)
    found = [nadeau_bengio_interval(row, factor) for row in values]
    covered = np.mean([f.low is not None and f.low <= 0 <= (f.high or 0) for f in found])
    assert 0.935 < covered < 0.965


@settings(deadline=None)  # the shared machine may stall
@given(arrays(np.float64, st.integers(2, 9), elements=st.floats(-1, 1, width=16)))
def test_sign_flip_agrees_with_scipys_exact_permutation(values: np.ndarray) -> None:
    expected = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=2**12
    )
    assert sign_flip_p(values) == pytest.approx(min(1.0, expected.pvalue), abs=1e-9)
    assert 2 / 2**values.size <= sign_flip_p(values) <= 1


@pytest.mark.parametrize(("n", "floor"), [(5, 0.0625), (8, 0.0078125), (10, 0.001953125)])
def test_sign_flip_of_a_clean_sweep_is_at_its_floor(n: int, floor: float) -> None:
    assert sign_flip_p(np.linspace(0.1, 1, n)) == floor


@settings(deadline=None)  # the shared machine may stall
@given(arrays(np.float64, (7, 4), elements=st.floats(-1, 1, width=16)))
def test_srocc_of_columns_is_scipys(columns: np.ndarray) -> None:
    found = srocc_of_columns(columns)
    for value, column in zip(found, columns[:, 1:].T, strict=True):
        if np.ptp(column) and np.ptp(columns[:, 0]):
            expected: Any = stats.spearmanr(column, columns[:, 0])
            assert value == pytest.approx(expected.statistic, abs=1e-9)
        else:
            assert np.isnan(value)


def test_sign_flip_counts_by_hand() -> None:
    assert sign_flip_p([1.0, 2.0, -1.0]) == 6 / 8  # |sum| >= 2: ±4, ±2, ±2


@settings(deadline=None)  # the shared machine may stall
@given(SCORES)
def test_shares_of_splits_won_add_up(values: np.ndarray) -> None:
    other = values[::-1]
    total = share_of_splits_won(values, other) + share_of_splits_won(other, values)
    assert total == pytest.approx(1.0)


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(ValueError, match="not paired"):
        paired_differences([1, 2], [1])


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        nadeau_bengio_interval([0.1, float("nan")], 0.4)


def test_smallest_effect_has_the_power_that_it_promises() -> None:
    rng, n, sd, factor = np.random.default_rng(1), 10, 0.02, 0.1
    effect = smallest_effect(sd, n, factor)
    draws = rng.normal(effect, sd, size=(4000, n))
    called = [(nadeau_bengio_interval(row, factor).p or 0) < 0.05 for row in draws]
    assert 0.76 < np.mean(called) < 0.88


def test_stratified_bootstrap_keeps_every_stratum() -> None:
    found = stratified_bootstrap([[0.0] * 5, [1.0] * 15], lambda x: float(np.mean(x)))
    assert (found.mean, found.low, found.high) == (0.75, 0.75, 0.75)


def test_bootstrap_over_prompts_follows_the_prompts_and_repeats() -> None:
    groups = np.repeat(np.arange(40), 25)
    values = np.random.default_rng(3).normal(size=40)[groups]

    def mean(rows: np.ndarray) -> float:
        return float(np.mean(values[rows]))

    found = prompt_bootstrap(list(groups), mean, n_resamples=2000)
    assert found == prompt_bootstrap(list(groups), mean, n_resamples=2000)
    assert found.low is not None and found.high is not None
    spread = np.std(values[::25]) / np.sqrt(40)  # of 40 prompts, not of 1,000 images
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * spread, rel=0.1)
