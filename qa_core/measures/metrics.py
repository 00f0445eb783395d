# pyright: strict, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# (SciPy ships no types.)
"""Agreement of scores with mean opinion scores, and how a bounded correction behaves.

Every function takes arrays of one dimension. An agreement that is undefined is None, never NaN;
`undefined_reason` says why.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.stats import kendalltau, rankdata

from qa_core.measures.limits import SATURATED_DELTA

SMALL_CORRECTION = 0.05
SMALL_DELTA = 0.25
"""A correction below both (|scale * delta|, |delta|) counts as small."""

MIN_ROWS = 3
"""Fewest rows for an agreement: two points always agree perfectly, or not at all."""

START_SLOPES = (0.1, 0.5, 1.0, 2.0, 4.0, 16.0)
START_MIDDLES = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)
"""Curves that the logistic fit may start from, in standard deviations of the predictions."""

Vector = NDArray[np.float64]


def undefined_reason(prediction: ArrayLike, mos: ArrayLike) -> str | None:
    """Why the agreement of the two is undefined, in words; None where it is defined."""
    x, y = _vector(prediction), _vector(mos)
    if x.shape != y.shape:
        raise ValueError(f"{len(x)} predictions do not pair with {len(y)} scores.")
    if len(x) < MIN_ROWS:
        return f"fewer than {MIN_ROWS} rows"
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return "values that are not finite"
    if np.ptp(x) == 0:
        return "constant predictions"
    if np.ptp(y) == 0:
        return "constant scores"
    return None


def srocc(prediction: ArrayLike, mos: ArrayLike) -> float | None:
    """Spearman's rank correlation, ties at their mean rank, in [-1, 1]."""
    if undefined_reason(prediction, mos):
        return None
    return _pearson(rankdata(_vector(prediction)), rankdata(_vector(mos)))


def plcc(prediction: ArrayLike, mos: ArrayLike) -> float | None:
    """Pearson's linear correlation, in [-1, 1]."""
    if undefined_reason(prediction, mos):
        return None
    return _pearson(_vector(prediction), _vector(mos))


def krocc(prediction: ArrayLike, mos: ArrayLike) -> float | None:
    """Kendall's tau-b, in [-1, 1]."""
    if undefined_reason(prediction, mos):
        return None
    return float(np.asarray(kendalltau(_vector(prediction), _vector(mos)))[0])


def rmse(prediction: ArrayLike, mos: ArrayLike) -> float | None:
    """Root mean squared error, in the unit of the scores; None without rows or beside NaN."""
    error = _vector(prediction) - _vector(mos)
    if not len(error) or not np.isfinite(error).all():
        return None
    return float(np.sqrt(np.mean(error**2)))


def plcc_fitted(prediction: ArrayLike, mos: ArrayLike) -> tuple[float | None, str | None]:
    """Pearson's correlation after a 4-parameter logistic fit, in [-1, 1], and a remark.

    The fit is f(x) = (b1 - b2) / (1 + exp(-(x - b3) / b4)) + b2 (VQEG 2000; Sheikh, Sabir and
    Bovik 2006), written as a + b tanh(s (x - m)) on standardised values. A falling curve counts
    negative, so that a score that runs against opinion is not praised. The straight line is the
    curve's limit: where the fit does not improve on it, the raw correlation is returned and the
    remark says so. Undefined: None, and the remark is the reason.
    """
    reason = undefined_reason(prediction, mos)
    if reason:
        return None, reason
    x, y = _standardise(_vector(prediction)), _standardise(_vector(mos))
    linear = _pearson(x, y)
    curve = _fit_logistic(x, y)
    value, direction = (0.0, 0.0) if curve is None else (_pearson(curve, y), _pearson(curve, x))
    if value <= abs(linear):
        return linear, "the logistic fit did not improve on a straight line: raw PLCC"
    return float(np.copysign(value, direction)), None


def within_group_srocc(prediction: ArrayLike, mos: ArrayLike, groups: ArrayLike) -> float | None:
    """Mean over groups of SROCC within the group, weighted by group size, in [-1, 1].

    Groups where it is undefined (fewer than 3 rows, constant values) do not count; None where
    no group is left.
    """
    x, y = _vector(prediction), _vector(mos)
    names, member_of = np.unique(np.asarray(groups), return_inverse=True)
    total, weight = 0.0, 0
    for group in range(len(names)):
        inside = member_of == group
        value = srocc(x[inside], y[inside])
        if value is not None:
            size = int(inside.sum())
            total, weight = total + size * value, weight + size
    return total / weight if weight else None


def delta_saturation(delta: ArrayLike) -> float | None:
    """Share of corrections with |delta| > 0.95, in [0, 1]; None without rows."""
    return _share(np.abs(_vector(delta)) > SATURATED_DELTA)


def small_correction_share(delta: ArrayLike, scale: ArrayLike) -> float | None:
    """Share of corrections with |scale * delta| < 0.05 and |delta| < 0.25, in [0, 1]."""
    size = np.abs(_vector(delta))
    applied = np.abs(np.asarray(scale, dtype=np.float64)) * size
    return _share((applied < SMALL_CORRECTION) & (size < SMALL_DELTA))


def clamped_share(values: ArrayLike) -> float | None:
    """Share of scores at exactly 0 or 1, where gradients die, in [0, 1]; None without rows."""
    scores = _vector(values)
    return _share((scores == 0) | (scores == 1))


def _vector(values: ArrayLike) -> Vector:
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _share(hits: NDArray[np.bool_]) -> float | None:
    return float(hits.mean()) if len(hits) else None


def _standardise(x: Vector) -> Vector:
    centred = x / np.abs(x).max()  # the squares of very small or large values would leave floats
    centred = centred - centred.mean()
    return centred / np.sqrt(np.mean(centred**2))


def _pearson(x: Vector, y: Vector) -> float:
    return float(np.clip(np.mean(_standardise(x) * _standardise(y)), -1.0, 1.0))


def _fit_logistic(x: Vector, y: Vector) -> Vector | None:
    """Least-squares values of a + b tanh(s (x - m)) at standardised x; None if the fit fails.

    The error has several minima, so the fit starts from the best of a grid of curves. It is SciPy's
    trust region: the digits of its Levenberg-Marquardt depend on what else is in memory.
    """
    if len(x) < 4:  # as many as the curve has parameters
        return None
    grid = [(slope, middle) for slope in START_SLOPES for middle in START_MIDDLES]
    bends = np.tanh([slope * (x - middle) for slope, middle in grid])  # (curves, n)
    bends -= bends.mean(axis=1, keepdims=True)
    power = np.sum(bends**2, axis=1)
    along = bends @ y
    best = int(np.argmax(along**2 / np.maximum(power, np.finfo(float).tiny)))
    slope, middle = grid[best]

    def residual(p: Vector) -> Vector:
        return p[0] + p[1] * np.tanh(p[2] * (x - p[3])) - y

    def jacobian(p: Vector) -> Vector:
        bend = np.tanh(p[2] * (x - p[3]))
        steep = p[1] * (1 - bend**2)
        return np.stack([np.ones_like(x), bend, steep * (x - p[3]), -steep * p[2]], axis=1)

    height = along[best] / max(power[best], np.finfo(float).tiny)
    offset = -height * np.tanh(slope * (x - middle)).mean()
    start = np.array([offset, height, slope, middle])
    try:
        found = least_squares(
            residual,
            start,
            jac=jacobian,  # pyright: ignore[reportArgumentType]
            x_scale="jac",
            max_nfev=1000,
        )
    except (ValueError, np.linalg.LinAlgError):
        return None
    curve: Vector = residual(np.asarray(found.x, dtype=np.float64)) + y
    usable = bool(np.isfinite(curve).all()) and float(np.ptp(curve)) > 0
    return curve if usable else None
