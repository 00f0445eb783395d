"""Statistics on paired splits: pure functions on arrays.

Verdicts rest on `reports.inference` and Holm's adjustment alone. The sign-flip test, the
interquartile mean and the share of splits won only describe the splits at hand: re-splits of one
data set overlap, so that as inference these would claim too much.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

FloatArray = NDArray[np.float64]
Statistic = Callable[[FloatArray], float]

EXACT_SIGN_FLIP_LIMIT = 20
"""Up to this many pairs all 2^n sign patterns are enumerated."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        mean: The estimate.
        low: Lower bound; None where the spread is unknown (a single split).
        high: Upper bound; None likewise.
        n: Number of values behind the estimate.
        level: Nominal coverage in (0, 1).
        kind: What it rests on: an `EstimateKind`, "prompt_bootstrap", or "none".
        p: Two-sided p value against the null that the caller named; None where undefined.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    level: float
    kind: str
    p: float | None = None


def told_bounds(low: float, high: float, scale: tuple[float, float]) -> tuple[float, float] | None:
    """Bounds within the scale on which a value lies; None where they tell no more than that."""
    if low <= scale[0] and high >= scale[1]:
        return None
    return max(low, scale[0]), min(high, scale[1])


def as_vector(values: ArrayLike) -> FloatArray:
    """The values as a finite vector (n,).

    Raises:
        ValueError: If there are none, or if one of them is NaN or infinite.
    """
    vector = np.asarray(values, dtype=np.float64).ravel()
    if vector.size == 0 or not bool(np.isfinite(vector).all()):
        raise ValueError("the values must be finite, and at least one is needed")
    return vector


def iqm(values: ArrayLike) -> float:
    """Interquartile mean: the mean of the middle half, a quarter cut at each end.

    Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (2021),
    section 4.3. The number cut at each end is floor(n / 4).
    """
    vector = np.sort(as_vector(values))
    cut = vector.size // 4
    return float(np.mean(vector[cut : vector.size - cut]))


def paired_differences(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """Differences first - second over the same splits, (n,).

    Raises:
        ValueError: If the two have different lengths, that is, are not paired.
    """
    left, right = as_vector(first), as_vector(second)
    if left.shape != right.shape:
        raise ValueError(f"not paired: {left.size} values against {right.size}")
    return left - right


def holm(p_values: ArrayLike) -> FloatArray:
    """Holm-adjusted p values in the order given, each in [0, 1].

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979): the i-th smallest p is
    multiplied by m - i + 1, then made monotone. Valid under any dependence.
    """
    p = as_vector(p_values)
    order = np.argsort(p, kind="stable")
    factors = np.arange(p.size, 0, -1, dtype=np.float64)
    adjusted = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return result


def holm_levels(p_values: ArrayLike, alpha: float = 0.05) -> FloatArray:
    """Level 1 - alpha_i of the interval shown beside each Holm decision, (m,).

    alpha_i is alpha / (m - i + 1) at the step where the hypothesis was decided; all that come
    after the first one kept share its step. The interval then excludes the null exactly where
    the adjusted p is at most alpha.
    """
    p = as_vector(p_values)
    order = np.argsort(p, kind="stable")
    steps = alpha / np.arange(p.size, 0, -1, dtype=np.float64)
    kept = np.flatnonzero(p[order] > steps)
    if kept.size:
        steps[kept[0] :] = steps[kept[0]]
    levels = np.empty_like(steps)
    levels[order] = 1.0 - steps
    return levels


def srocc_of_columns(columns: FloatArray) -> FloatArray:
    """SROCC of columns 1 and on with column 0, (k,), of columns (n, 1 + k); NaN where undefined.

    One ranking of all columns: a bootstrap asks for thousands.
    """
    ranks = np.array(cast(Any, stats).rankdata(columns, axis=0), dtype=np.float64)
    centred = ranks - ranks.mean(axis=0)
    sizes = np.sqrt((centred**2).sum(axis=0))
    with np.errstate(invalid="ignore"):
        return centred[:, 1:].T @ centred[:, 0] / (sizes[1:] * sizes[0])


def sign_flip_p(differences: ArrayLike) -> float:
    """Exact two-sided sign-flip p of the mean of paired differences, in [2 / 2^n, 1].

    Fisher, "The Design of Experiments" (1935), section 21: the share of the 2^n sign patterns
    whose mean is at least as far from 0. It takes splits for independent, so it only describes.

    Raises:
        ValueError: Beyond 20 pairs, where enumeration stops being quick.
    """
    vector = as_vector(differences)
    if vector.size > EXACT_SIGN_FLIP_LIMIT:
        raise ValueError(f"exact only up to {EXACT_SIGN_FLIP_LIMIT} pairs")
    sums = vector[:1]  # a pattern and its opposite are equally far from 0, so half suffice
    for value in vector[1:]:
        sums = np.concatenate([sums + value, sums - value])
    tolerance = 1e-12 * float(np.sum(np.abs(vector)))
    return float(np.mean(np.abs(sums) >= abs(float(np.sum(vector))) - tolerance))


def share_of_splits_won(first: ArrayLike, second: ArrayLike) -> float:
    """Share of splits in which the first is ahead, a tie counting half; in [0, 1]."""
    differences = paired_differences(first, second)
    return float(np.mean((np.sign(differences) + 1.0) / 2.0))


def prompt_bootstrap(
    groups: Sequence[object],
    statistic: Callable[[NDArray[np.intp]], float],
    level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of an image-level statistic, prompts drawn with replacement.

    Images of one prompt stand or fall together, so the prompt is the unit (the cluster bootstrap:
    Field and Welsh, "Bootstrapping Clustered Data", JRSS B 69, 2007). For a paired comparison
    the statistic takes the difference of two models on the same rows.

    Args:
        groups: The prompt of each row, (n_rows,).
        statistic: Maps row indices (with repetitions) to a number; NaN draws are left out.
        level: Coverage in (0, 1).
        n_resamples: Number of draws.
        seed: Seed of the draws.

    Returns:
        The interval with n = number of prompts; no bounds with one prompt alone.
    """
    n_groups = len({str(group) for group in groups})
    estimate = statistic(np.arange(len(groups)))
    draws = [statistic(rows) for rows in prompt_resamples(groups, n_resamples, seed)]
    return percentile_interval(estimate, draws, n_groups, level)


def prompt_resamples(
    groups: Sequence[object], n_resamples: int, seed: int = 0
) -> Iterator[NDArray[np.intp]]:
    """Row indices of each resample of whole prompts; none with one prompt alone."""
    labels = np.asarray([str(g) for g in groups])
    codes: NDArray[np.intp] = np.unique(labels, return_inverse=True)[1]
    n_groups = int(codes.max()) + 1
    members: list[NDArray[np.intp]] = [np.flatnonzero(codes == k) for k in range(n_groups)]
    rng = np.random.default_rng(seed)
    for _ in range(n_resamples if n_groups > 1 else 0):
        chosen: list[int] = rng.integers(0, n_groups, n_groups).tolist()
        yield np.concatenate([members[k] for k in chosen])


def percentile_interval(
    estimate: float, draws: Sequence[float], n_prompts: int, level: float = 0.95
) -> Interval:
    """The percentile interval of draws over prompts, those that are not finite left out."""
    drawn = np.asarray(draws, dtype=np.float64)
    finite = drawn[np.isfinite(drawn)]
    if finite.size == 0:
        return Interval(estimate, None, None, n_prompts, level, "prompt_bootstrap")
    low, high = np.quantile(finite, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(estimate, float(low), float(high), n_prompts, level, "prompt_bootstrap")
