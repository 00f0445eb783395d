"""The report's statistics against scipy, closed forms and their own laws."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from reports.statistics import (
    holm,
    holm_levels,
    iqm,
    paired_differences,
    prompt_bootstrap,
    share_of_splits_won,
    sign_flip_p,
    srocc_of_columns,
    told_bounds,
)

P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)
SCORES = arrays(np.float64, st.integers(2, 12), elements=st.floats(-1, 1, width=32))


@settings(deadline=None)  # the shared machine may stall
@given(SCORES)
def test_iqm_is_scipys_trimmed_mean(values: np.ndarray) -> None:
    assert iqm(values) == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-12)


@settings(deadline=None)  # the shared machine may stall
@given(P_VALUES, st.floats(0.001, 0.999))
def test_holm_calls_what_his_procedure_rejects(p_values: list[float], level: float) -> None:
    rejected: set[int] = set()  # Holm 1979: from the smallest on, until one is not below its share
    for step, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[place] * (len(p_values) - step) > level:
            break
        rejected.add(place)
    adjusted = holm(p_values)
    assert {place for place, p in enumerate(adjusted) if p <= level} == rejected


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.6]), [0.09, 0.04, 0.09, 0.6])


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


def test_a_sign_flip_test_takes_overlapping_splits_for_independent() -> None:
    """Two of ten splits share the correlation .2/.7; the test then errs seven times too often."""
    rng, rho = np.random.default_rng(0), 0.2 / 0.7
    values = np.sqrt(rho) * rng.normal(size=(500, 1))
    values = values + np.sqrt(1 - rho) * rng.normal(size=(500, 10))
    assert 0.3 < np.mean([sign_flip_p(row) <= 0.05 for row in values]) < 0.4


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


def test_bounds_are_cut_where_a_value_cannot_be() -> None:
    assert told_bounds(-0.2, 1.3, (-1.0, 1.0)) == (-0.2, 1.0)
    assert told_bounds(-27.5, 27.9, (-1.0, 1.0)) is None
    assert told_bounds(-27.5, 0.9, (-1.0, 1.0)) == (-1.0, 0.9)
    assert told_bounds(-27.5, 27.9, (-math.inf, math.inf)) == (-27.5, 27.9)
