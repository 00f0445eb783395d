"""The simulations behind docs/statistics.md: the same tests as the report's, on known truth."""

import numpy as np
import pytest
from corrected_t import corrected_t
from scipy import stats

from qa_core.measures.metrics import srocc
from reports import statistics
from reports.calibration import image_level, methods
from reports.calibration.__main__ import rates_of_methods
from reports.calibration.split_level import (
    EXPECTED_SROCC,
    paired_differences,
    split_level_scores,
)


def some_differences(n_splits: int = 8) -> np.ndarray:
    return np.random.default_rng(3).normal(0.01, 0.02, (5, 6, n_splits))


def by_row(function, differences: np.ndarray) -> np.ndarray:
    return np.array([[function(row) for row in family] for family in differences])


def test_the_corrected_t_test_is_scipys() -> None:
    d = some_differences()
    expected = by_row(lambda row: corrected_t(row, 0.5).p, d)
    np.testing.assert_allclose(methods.nadeau_bengio_p(d, 0.5), expected)


def test_sign_flips_are_the_reports_own() -> None:
    d = some_differences()
    expected = by_row(statistics.sign_flip_p, d)
    np.testing.assert_allclose(methods.sign_flip_p(d, 0.5), expected)


def test_drawn_sign_flips_come_near_the_exact_p() -> None:
    d = some_differences(12)
    exact = by_row(statistics.sign_flip_p, d)
    np.testing.assert_allclose(methods.sign_flip_p(d, 0.5), exact, atol=0.04)


def test_weights_give_the_interquartile_mean_of_each_resample() -> None:
    row = np.sort(np.random.default_rng(1).normal(size=10))
    plan = np.random.default_rng(0).multinomial(10, np.full(10, 0.1), methods.RESAMPLES)
    found = row @ methods._iqm_weights(10)
    for counts, value in zip(plan[:20], found[:20], strict=True):
        assert value == pytest.approx(statistics.iqm(np.repeat(row, counts)))


def test_the_bootstrap_excludes_zero_where_its_interval_does() -> None:
    d = np.random.default_rng(5).normal(0.011, 0.02, (40, 1, 10))
    called = methods.iqm_bootstrap_p(d, 0.5) <= methods.ALPHA
    excluded = []
    for row in d[:, 0]:
        found = stats.bootstrap(
            (row,), statistics.iqm, n_resamples=1000, method="percentile", vectorized=False, rng=0
        ).confidence_interval
        excluded.append(found.low > 0 or found.high < 0)
    assert np.mean(called[:, 0] == np.array(excluded)) > 0.9  # two plans of resamples


def test_holm_calls_what_the_report_calls() -> None:
    p = np.random.default_rng(2).uniform(0, 0.06, (50, 6))
    expected = np.array([statistics.holm(row) <= methods.ALPHA for row in p])
    assert (methods.called_by_holm(p) == expected).all()
    assert expected.any() and not expected.all()


@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_drawn_procedures_are_equal_yet_different_and_correlate_as_asked(rho: float) -> None:
    scores = split_level_scores(40_000, 5, rho, np.random.default_rng(0))
    np.testing.assert_allclose(scores.mean(axis=(0, 2)), EXPECTED_SROCC, atol=6e-4)
    spreads = scores.std(axis=(0, 2))
    assert (np.diff(spreads) > 0.001).all()
    found = image_level.split_correlation(paired_differences(scores))
    assert found == pytest.approx(rho, abs=0.01)


def test_without_overlap_a_plain_test_is_right_and_with_it_wrong() -> None:
    rng = np.random.default_rng(0)
    apart, together = (
        rates_of_methods(paired_differences(split_level_scores(2000, 10, rho, rng)))
        for rho in (0.0, 0.29)
    )
    assert apart["sign_flip"]["coverage"] == pytest.approx(0.95, abs=0.02)
    assert together["sign_flip"]["coverage"] < 0.75
    assert together["verdict"]["coverage"] == pytest.approx(0.95, abs=0.02)
    assert together["verdict"]["false_rate"] < 0.06


def test_image_level_procedures_are_equal_on_test_parts() -> None:
    sds = image_level.equal_error_sds(np.random.default_rng(0), n_test_parts=60)
    assert len(set(sds.round(4))) == 4
    rng = np.random.default_rng(1)
    scores = []
    for _ in range(400):
        mos, lasting = image_level.draw_data_set(40, rng)
        errors = image_level.trained(lasting, rng)
        scores.append([srocc(mos + sd * e, mos) for sd, e in zip(sds, errors, strict=True)])
    means = np.array(scores, dtype=float).mean(axis=0)
    np.testing.assert_allclose(means, means[0], atol=0.012)
