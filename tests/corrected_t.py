"""The corrected resampled t interval by SciPy, apart from the report's own."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


class CorrectedT(NamedTuple):
    """Mean over splits, bounds of its interval, and two-sided p against a null value."""

    mean: float
    low: float
    high: float
    p: float


def corrected_t(
    values: ArrayLike, variance_factor: float, level: float = 0.95, null: float = 0.0
) -> CorrectedT:
    """Nadeau and Bengio (2003), equation 9: variance_factor times the sample variance, J - 1.

    Args:
        values: One value a split, (J,).
        variance_factor: 1/J + n_test/(n_eligible - n_test).
        level: Coverage of the interval.
        null: The value that p tests against.
    """
    row = np.asarray(values, float)
    t = stats.t(len(row) - 1, loc=row.mean(), scale=np.sqrt(variance_factor * row.var(ddof=1)))
    low, high = t.interval(level)
    return CorrectedT(float(row.mean()), low, high, float(2 * min(t.cdf(null), t.sf(null))))
