"""What each image and each prompt contributes to a rank correlation: its influence.

A score on a test part varies because other prompts might have been drawn. To first order that
variation is a sum over prompts, so the error of any mean or difference of scores adds up from the
prompts that were tested, however often each was.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reports.statistics import FloatArray, as_vector


@dataclass(frozen=True)
class Scored:
    """SROCC on one test part, and how much each prompt of the whole table moves it.

    Scores of several models on the same part combine linearly: a mean over seeds, a difference of
    modes or a slope over settings has the same combination of `shares`.

    Attributes:
        score: SROCC, in [-1, 1].
        shares: Contribution of each prompt (n_prompts,); 0 for those outside the part. The sum of
            squares estimates the score's variance over draws of the part's prompts.
    """

    score: float
    shares: FloatArray

    def __add__(self, other: "Scored") -> "Scored":
        return Scored(self.score + other.score, self.shares + other.shares)

    def __sub__(self, other: "Scored") -> "Scored":
        return Scored(self.score - other.score, self.shares - other.shares)

    def __mul__(self, factor: float) -> "Scored":
        return Scored(self.score * factor, self.shares * factor)


def score_part(
    prediction: ArrayLike, mos: ArrayLike, prompt_of: NDArray[np.integer], n_prompts: int
) -> Scored | None:
    """SROCC of one model on one test part with each prompt's share; None where it is undefined.

    A prompt's share is the sum of its images' influences over the number of images, times
    sqrt(m / (m - 1)) with m prompts in the part: influences sum to zero within the part, so that
    their squares alone would fall short by that much (Field and Welsh, "Bootstrapping Clustered
    Data", JRSS B 69, 2007, section 2, for clusters as the unit).

    Args:
        prediction: Predicted scores (n,).
        mos: Mean opinion scores (n,); images where it is NaN were not rated and do not count.
        prompt_of: Number of each image's prompt (n,), in [0, n_prompts).
        n_prompts: Prompts of the whole table.
    """
    x, y = as_vector(prediction), as_vector(mos)
    rated = ~np.isnan(y)
    x, y, prompt_of = x[rated], y[rated], prompt_of[rated]
    n_tested = np.unique(prompt_of).size
    if n_tested < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    score, influence = srocc_influence(x, y)
    shares = np.bincount(prompt_of, weights=influence, minlength=n_prompts) / x.size
    return Scored(score, shares * np.sqrt(n_tested / (n_tested - 1)))


def srocc_influence(prediction: ArrayLike, mos: ArrayLike) -> tuple[float, FloatArray]:
    """SROCC and the influence of each image on it (n,), which has mean 0; O(n log n).

    Croux and Dehon, "Influence Functions of the Spearman and Kendall Correlation Measures"
    (Statistical Methods and Applications 19, 2010), equation 8: without ties
    12 [u v + mean_k v_k 1(x_k > x) + mean_k u_k 1(y_k > y)] - 3 rho - 9, with u and v the ranks
    in (0, 1). Ties change the variance of the ranks as well, so here it is the derivative of
    cov(u, v) / sqrt(var u var v) with mid-ranks, ties counting half; the two agree where there
    are none, up to terms of order 1/n.

    Raises:
        ValueError: One of the two is constant, or they are not paired.
    """
    x, y = as_vector(prediction), as_vector(mos)
    if x.shape != y.shape:
        raise ValueError(f"not paired: {x.size} values against {y.size}")
    at_x, at_y = _levels(x), _levels(y)
    u, v = _centred_ranks(at_x), _centred_ranks(at_y)
    covariance, of_u, of_v = (float(np.mean(part)) for part in (u * v, u * u, v * v))
    if of_u == 0 or of_v == 0:
        raise ValueError("the rank correlation of a constant is undefined")
    rho = covariance / np.sqrt(of_u * of_v)
    # One more image at (x, y) adds its own product and lifts the ranks of all images above it.
    d_covariance = u * v + _mean_above(at_x, v) + _mean_above(at_y, u) - 3 * covariance
    d_u = u * u + 2 * _mean_above(at_x, u) - 3 * of_u
    d_v = v * v + 2 * _mean_above(at_y, v) - 3 * of_v
    influence = d_covariance / np.sqrt(of_u * of_v) - rho / 2 * (d_u / of_u + d_v / of_v)
    return float(rho), influence


def _levels(values: FloatArray) -> NDArray[np.intp]:
    """Number of each value among the distinct ones, ascending from 0, (n,)."""
    return np.unique(values, return_inverse=True)[1]


def _centred_ranks(levels: NDArray[np.intp]) -> FloatArray:
    """Mid-ranks (n,) in (-1/2, 1/2), of mean 0."""
    counts = np.bincount(levels)
    return ((np.cumsum(counts) - counts / 2) / levels.size - 0.5)[levels]


def _mean_above(levels: NDArray[np.intp], weights: FloatArray) -> FloatArray:
    """For each image, sum of the weights of all above it over n (n,); its equals count half."""
    own = np.bincount(levels, weights=weights)
    above = np.cumsum(own[::-1])[::-1] - own / 2
    return above[levels] / levels.size
