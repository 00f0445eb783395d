"""Whole ablations with known truth, drawn as SROCC of four procedures over overlapping splits.

Only what a procedure is expected to reach, over data sets, is true of it. So each simulated
ablation draws a data set of its own, whose effect on each procedure all its splits share; without
that, only the noise of splits would be tested, and any method would pass.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

N_PROCEDURES = 4
CONTRASTS = tuple((i, j) for i in range(N_PROCEDURES) for j in range(i))
"""The family: every procedure against every earlier one."""
EXPECTED_SROCC = 0.75
SPREADS = (0.011, 0.014, 0.017, 0.020)
"""SD of each procedure's SROCC over splits beyond what all procedures share: so four procedures
of equal expectation are yet four different ones. Their differences have SDs of .018 to .026."""
SHARED_SPREAD = 0.02
"""SD of the difficulty of a data set's and a split's images, shared by the procedures."""


def paired_differences(scores: FloatArray) -> FloatArray:
    """The family's contrasts (n, 6, J) of scores (n, 4, J)."""
    first, second = np.array(CONTRASTS).T
    return scores[:, first] - scores[:, second]


def split_level_scores(n: int, n_splits: int, rho: float, rng: np.random.Generator) -> FloatArray:
    """SROCC (n, 4, J) of procedures of equal expectation, splits correlated at rho.

    Drawn as Gaussian on Fisher's z scale, where the bound of SROCC skews each procedure by its
    own spread; the starting points are chosen so that expectations agree on SROCC's own scale.
    """
    slope = 1 - EXPECTED_SROCC**2  # of tanh at the expectation

    def draw(n_series: int) -> FloatArray:
        lasting = rng.normal(size=(n, n_series, 1))
        passing = rng.normal(size=(n, n_series, n_splits))
        return np.sqrt(rho) * lasting + np.sqrt(1 - rho) * passing

    spreads = np.array(SPREADS) / slope
    shared = SHARED_SPREAD / slope
    centres = [_centre(np.hypot(spread, shared)) for spread in spreads]
    z = np.array(centres)[:, None] + spreads[:, None] * draw(N_PROCEDURES) + shared * draw(1)
    return np.tanh(z)


def _centre(spread: float) -> float:
    """The m with E[tanh(m + spread * N(0, 1))] = EXPECTED_SROCC, by Newton's steps."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    centre = float(np.arctanh(EXPECTED_SROCC))
    for _ in range(8):
        values = np.tanh(centre + spread * nodes)
        centre -= float((weights @ values - EXPECTED_SROCC) / (weights @ (1 - values**2)))
    return centre
