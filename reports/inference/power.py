"""What a design will show before it is run: smallest difference, smallest margin, prompts needed.

All take the standard error that a pilot promises and its degrees of freedom. An error that is
estimated from few values varies from run to run, so powers are means over its distribution, that of
sqrt(chi-square / degrees), and exact where the estimate is normal.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from scipy import optimize, stats  # pyright: ignore[reportMissingTypeStubs]

from reports.statistics import FloatArray

POWER = 0.8
"""Four of five runs."""
_GRID: FloatArray = (np.arange(1000) + 0.5) / 1000


def power_of_difference(
    difference: float, error: float, degrees: int, alpha: float = 0.05
) -> float:
    """Share of runs that call a true difference, on its own side, in a two-sided test."""
    found, quantile = _errors(error, degrees), _t_quantile(1 - alpha / 2, degrees)
    return float(np.mean(_normal_cdf((abs(difference) - quantile * found) / error)))


def power_of_same(
    margin: float, error: float, degrees: int, alpha: float = 0.05, difference: float = 0.0
) -> float:
    """Share of runs in which two one-sided tests show that a difference is within +- margin."""
    room = margin - _t_quantile(1 - alpha, degrees) * _errors(error, degrees)
    inside = _normal_cdf((room - difference) / error) - _normal_cdf((-room - difference) / error)
    return float(np.mean(np.where(room > 0, inside, 0.0)))


def smallest_difference(
    error: float, degrees: int, alpha: float = 0.05, power: float = POWER
) -> float:
    """The true difference that so large a share of runs will call.

    Args:
        error: Standard error of the contrast.
        degrees: Its degrees of freedom.
        alpha: Level of the test; in a family of k contrasts .05 / k is the safe side of Holm.
        power: Share of runs.
    """
    return _smallest(lambda d: power_of_difference(d, error, degrees, alpha), error, power)


def smallest_margin(error: float, degrees: int, alpha: float = 0.05, power: float = POWER) -> float:
    """The margin within which so large a share of runs will show two equal modes to be the same."""
    return _smallest(lambda m: power_of_same(m, error, degrees, alpha), error, power)


def prompts_needed(smallest: float, wanted: float, n_prompts: int) -> int:
    """Prompts at which a smallest difference or margin becomes the one that is wanted.

    Errors fall with the square root of the number of prompts, in test as in training.

    Args:
        smallest: What `n_prompts` show.
        wanted: What shall be shown.
        n_prompts: Prompts of the design that was measured.
    """
    return math.ceil(n_prompts * (smallest / wanted) ** 2 - 1e-9)


def _smallest(power_at: Callable[[float], float], error: float, power: float) -> float:
    """Where a rising power reaches what is asked; 0 where there is no error."""
    if error == 0:
        return 0.0
    high = error
    while power_at(high) < power:
        high *= 2

    def short(x: float) -> float:
        return power_at(x) - power

    return float(cast(Any, optimize).brentq(short, 0.0, high, xtol=1e-6 * error))


def _errors(error: float, degrees: int) -> FloatArray:
    """Standard errors that runs will estimate, at even quantiles of their distribution."""
    shares = cast(Any, stats).chi2.ppf(_GRID, degrees) / degrees
    return error * np.sqrt(np.asarray(shares, dtype=np.float64))


def _t_quantile(share: float, degrees: int) -> float:
    return float(cast(Any, stats).t.ppf(share, degrees))


def _normal_cdf(values: FloatArray) -> FloatArray:
    return np.asarray(cast(Any, stats).norm.cdf(values), dtype=np.float64)
