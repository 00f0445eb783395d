"""Standard errors of the three designs against scipy, the definition and simulated truth."""

from typing import Any

import numpy as np
import pytest
from corrected_t import corrected_t
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from reports.inference.estimates import (
    from_folds,
    from_replicates,
    from_resplits,
    resplit_factor,
    training_variance,
)
from reports.inference.influence import Scored, score_part

VALUES = np.array([0.01, 0.03, -0.01, 0.02, 0.05])
K = 5


def test_replicates_are_the_ordinary_paired_t() -> None:
    found = from_replicates(VALUES)
    assert found is not None
    expected: Any = stats.ttest_1samp(VALUES, 0.01)
    assert found.bounds(0.9) == pytest.approx(tuple(expected.confidence_interval(0.9)))
    assert found.p(0.01) == pytest.approx(expected.pvalue)
    above: Any = stats.ttest_1samp(VALUES, -0.02, alternative="greater")
    below: Any = stats.ttest_1samp(VALUES, 0.03, alternative="less")
    assert found.p_above(-0.02) == pytest.approx(above.pvalue)
    assert found.p_below(0.03) == pytest.approx(below.pvalue)


def test_resplits_are_nadeau_and_bengios_interval() -> None:
    found = from_resplits(VALUES, 0.4)
    assert found is not None
    expected = corrected_t(VALUES, 0.4, 0.9, 0.01)
    own = found.interval(0.9, 0.01)
    assert (own.mean, own.low, own.high, own.p) == pytest.approx(
        (expected.mean, expected.low, expected.high, expected.p)
    )
    assert (own.n, own.level, own.kind) == (5, 0.9, "nadeau_bengio")


@settings(deadline=None)  # the shared machine may stall
@given(
    arrays(np.float64, st.integers(2, 12), elements=st.floats(-1, 1, width=32)),
    st.floats(0.01, 1.0),
)
def test_an_interval_excludes_the_null_exactly_where_p_is_small(
    values: np.ndarray, factor: float
) -> None:
    found = from_resplits(values, factor)
    assert found is not None
    low, high = found.bounds()
    if abs(found.p() - 0.05) > 1e-6:
        assert (found.p() < 0.05) == (low > 0 or high < 0)


def test_resplits_cover_under_the_overlap_that_they_assume() -> None:
    """Splits correlated at n_test/n_eligible = .2/.7 need 1/J + .4, and then cover 95 %."""
    rng, rho, splits, repeats = np.random.default_rng(0), 0.2 / 0.7, 10, 4000
    shared = rng.normal(size=(repeats, 1)) * np.sqrt(rho)
    values = shared + rng.normal(size=(repeats, splits)) * np.sqrt(1 - rho)
    factor = 1 / splits + rho / (1 - rho)
    estimates = [from_resplits(row, factor) for row in values]
    bounds = [found.bounds() for found in estimates if found is not None]
    covered = np.mean([low <= 0 <= high for low, high in bounds])
    assert 0.935 < covered < 0.965


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        from_resplits([0.1, float("nan")], 0.4)


def test_equal_values_leave_nothing_open_and_one_value_everything() -> None:
    found = from_replicates([0.1] * 10)
    assert found is not None
    assert (found.bounds(), found.p(0.0), found.p(0.1)) == ((0.1, 0.1), 0.0, 1.0)
    assert from_replicates([0.1]) is None


def test_a_part_has_the_factor_of_its_own_size() -> None:
    """The honest protocol's test part of .2 of all and .7 eligible, and its validation of .1."""
    assert resplit_factor(10, 200, 700) == pytest.approx(0.1 + 0.2 / 0.5)
    assert resplit_factor(10, 100, 700) == pytest.approx(0.1 + 0.1 / 0.6)
    with pytest.raises(ValueError, match="not drawn"):
        resplit_factor(10, 700, 700)


def test_fold_errors_by_hand() -> None:
    """Two repeats of two folds over four prompts, every sum written out."""
    shares = np.array([[0.1, -0.1, 0, 0], [0, 0, 0.2, -0.2], [0.3, 0, -0.3, 0], [0, 0.1, 0, -0.1]])
    values, repeat_of = np.array([0.1, 0.5, 0.2, 0.3]), [0, 0, 1, 1]
    found = from_folds([Scored(*p) for p in zip(values, shares, strict=True)], repeat_of, 2)
    assert found is not None
    v_test = (0.4**2 + 0 + 0.1**2 + 0.3**2) / 16
    within = ((0.1 - 0.3) ** 2 * 2 + (0.2 - 0.25) ** 2 * 2) / 2
    prompts = (0.02 + 0.08 + 0.18 + 0.02) / 4
    by_folds = (within - prompts) * (1 / 4 + 1 / 1)
    by_repeats = ((0.3 - 0.275) ** 2 + (0.25 - 0.275) ** 2) / 1 / 2
    assert by_repeats > max(0.0, by_folds)
    assert found.mean == pytest.approx(0.275)
    assert found.error**2 == pytest.approx(v_test + max(0.0, by_folds, by_repeats))
    assert (found.degrees, found.n) == (3, 4)


def test_training_variance_of_one_repeat_comes_from_its_folds() -> None:
    values, shares = np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.zeros((5, 50))
    found = training_variance(values, shares, np.zeros(5, int), K)
    assert found == pytest.approx(np.var(values, ddof=1) * (1 / 5 + 1 / 4))
    assert training_variance(values[:2], shares[:2], np.array([0, 1]), K) is None


def test_an_unfinished_repeat_is_no_repeat_mean() -> None:
    """Its two easy folds must not be taken for a whole repeat that came out far higher."""
    values = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.9])
    found = training_variance(values, np.zeros((7, 50)), np.array([0] * 5 + [1] * 2), K)
    assert found == 0.0


def folds_of(rng: np.random.Generator, n_prompts: int, repeats: int) -> np.ndarray:
    """Which fold each prompt is in, (repeats, n_prompts)."""
    orders = [rng.permutation(n_prompts) for _ in range(repeats)]
    fold_of = np.empty((repeats, n_prompts), dtype=int)
    for repeat, order in enumerate(orders):
        for fold, part in enumerate(np.array_split(order, K)):
            fold_of[repeat, part] = fold
    return fold_of


@pytest.mark.parametrize("missing", [(), (3, 7)])
def test_without_training_noise_the_error_is_the_spread_over_data_sets(
    missing: tuple[int, ...],
) -> None:
    """Unequal folds (52 prompts), also with two folds missing, so that prompts count unequally."""
    rng, n_prompts, repeats = np.random.default_rng(4), 52, 2
    prompt_of = np.repeat(np.arange(n_prompts), 3)
    means, variances = [], []
    for _ in range(300):
        mos = 0.7 * rng.normal(size=n_prompts)[prompt_of] + rng.normal(size=prompt_of.size)
        first, second = (mos + 0.8 * rng.normal(size=mos.size) for _ in range(2))
        parts: list[Scored] = []
        for fold_of in folds_of(rng, n_prompts, repeats):
            for fold in range(K):
                rows = np.flatnonzero(fold_of[prompt_of] == fold)
                scored = [
                    score_part(p[rows], mos[rows], prompt_of[rows], n_prompts)
                    for p in (first, second)
                ]
                assert scored[0] is not None and scored[1] is not None
                parts.append(scored[0] - scored[1])
        kept = [part for k, part in enumerate(parts) if k not in missing]
        repeat_of = [k // K for k in range(len(parts)) if k not in missing]
        found = from_folds(kept, repeat_of, K)
        assert found is not None
        means.append(found.mean)
        of_prompts = np.mean([part.shares for part in kept], axis=0)
        variances.append((np.sum(of_prompts**2), found.error**2))
    v_test, whole = np.mean(variances, axis=0)
    assert 0.85 < v_test / np.var(means) < 1.25  # a little safe: folds of ten prompts are small
    assert v_test < whole < 1.9 * v_test
