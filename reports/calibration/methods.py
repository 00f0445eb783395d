"""The report's tests on many simulated ablations at once: p values from paired differences.

An interval of each method covers a value exactly where its test does not reject that value, so a
p value is all that is needed to count coverage. Each agrees with its one-row form in
`reports.statistics`.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]

ALPHA = 0.05
EXACT_FLIPS = 10
"""Up to this many splits all sign patterns are enumerated; above, RANDOM_FLIPS are drawn."""
RANDOM_FLIPS = 1999
RESAMPLES = 1000

_CHUNK = 10_000  # rows whose resamples are held in memory at once


def nadeau_bengio_p(differences: FloatArray, variance_factor: float) -> FloatArray:
    """Two-sided p of the corrected t test, (n, k), of differences (n, k, J)."""
    n_splits = differences.shape[-1]
    error = differences.std(axis=-1, ddof=1) * np.sqrt(variance_factor)
    return 2 * stats.t.sf(np.abs(differences.mean(axis=-1)) / error, n_splits - 1)


def sign_flip_p(differences: FloatArray, variance_factor: float) -> FloatArray:
    """Two-sided sign-flip p of the mean, (n, k), of differences (n, k, J)."""
    n_splits = differences.shape[-1]
    if n_splits <= EXACT_FLIPS:  # a pattern and its opposite agree, so half of them suffice
        signs = np.array([(1.0, *rest) for rest in product((1.0, -1.0), repeat=n_splits - 1)])
    else:
        drawn = np.random.default_rng(0).choice((1.0, -1.0), (RANDOM_FLIPS, n_splits))
        signs = np.vstack([np.ones(n_splits), drawn])

    def share_as_far(rows: FloatArray) -> FloatArray:
        tolerance = 1e-12 * np.abs(rows).sum(axis=1)
        return (np.abs(signs @ rows.T) >= np.abs(rows.sum(axis=1)) - tolerance).mean(axis=0)

    return _by_rows(share_as_far, differences)


def iqm_bootstrap_p(differences: FloatArray, variance_factor: float) -> FloatArray:
    """Two-sided p of the percentile bootstrap of the interquartile mean, (n, k).

    The interquartile mean of a resample is a weighted sum of the ordered differences, and one
    plan of resamples serves all simulated ablations, so all draws are one matrix product.
    """
    weights = _iqm_weights(differences.shape[-1])

    def twice_smaller_tail(rows: FloatArray) -> FloatArray:
        draws = np.sort(rows, axis=1) @ weights  # (rows, RESAMPLES)
        below, above = (draws <= 0).mean(axis=1), (draws >= 0).mean(axis=1)
        return np.minimum(2 * np.minimum(below, above), 1.0)

    return _by_rows(twice_smaller_tail, differences)


def _iqm_weights(n_splits: int) -> FloatArray:
    """Weight of each order statistic in the interquartile mean of each resample, (J, draws)."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(n_splits, np.full(n_splits, 1 / n_splits), RESAMPLES).T
    cut = n_splits // 4
    ends = np.clip(np.cumsum(counts, axis=0), cut, n_splits - cut) - cut
    return np.diff(ends, axis=0, prepend=0) / (n_splits - 2 * cut)


def splits_won_p(differences: FloatArray, variance_factor: float) -> FloatArray:
    """Two-sided exact binomial p that either side wins half of the splits, (n, k)."""
    n_splits = differences.shape[-1]
    wins = (differences > 0).sum(axis=-1)
    tails = stats.binom.cdf(np.arange(n_splits + 1), n_splits, 0.5)
    return np.minimum(2 * tails[np.minimum(wins, n_splits - wins)], 1.0)


METHODS: dict[str, Callable[[FloatArray, float], FloatArray]] = {
    "verdict": nadeau_bengio_p,
    "sign_flip": sign_flip_p,
    "iqm_bootstrap": iqm_bootstrap_p,
    "share_of_splits_won": splits_won_p,
}
"""The verdict's test, and those that only describe the splits at hand."""


def called_by_holm(p_values: FloatArray) -> NDArray[np.bool_]:
    """Which contrasts Holm calls at .05 within each family, (n, k)."""
    order = np.argsort(p_values, axis=1)
    factors = np.arange(p_values.shape[1], 0, -1)
    ordered = np.take_along_axis(p_values, order, axis=1)
    adjusted = np.maximum.accumulate(ordered * factors, axis=1)
    called = np.empty(p_values.shape, dtype=bool)
    np.put_along_axis(called, order, adjusted <= ALPHA, axis=1)
    return called


def _by_rows(statistic: Callable[[FloatArray], FloatArray], differences: FloatArray) -> FloatArray:
    """Apply to rows (m, J), some thousands at a time, and shape the result as (n, k)."""
    rows = differences.reshape(-1, differences.shape[-1])
    parts = [statistic(rows[start : start + _CHUNK]) for start in range(0, len(rows), _CHUNK)]
    return np.concatenate(parts).reshape(differences.shape[:-1])
