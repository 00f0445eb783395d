"""True opinions by formula, and the simulated panel that measures them.

Habits of people that the formula follows: a missing or a wrong object weighs more than a wrong
colour, and that far more than a wrong shade; relations and counts matter; faults add up with
diminishing effect; and the two scores rub off on each other (halo), as people's tables show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qa_core.data.synthetic.distort import Distortion
from qa_core.data.synthetic.faults import Fault

SEVERITY = {
    "blur": 0.80,
    "noise": 0.72,
    "blocking": 0.80,
    "compression": 0.62,
    "fading": 0.58,
    "darkness": 0.55,
    "streaks": 0.62,
    "warping": 0.72,
    "ghosting": 0.62,
}
"""Share of quality that a kind of distortion takes at full strength."""

COST = {
    "missing": 0.58,
    "shape": 0.46,
    "colour": 0.36,
    "relation": 0.34,
    "count": 0.20,
    "background": 0.18,
    "size": 0.15,
    "shade": 0.10,
}
"""Share of consistency that a contradiction takes in a prompt of two groups."""

_COUNT_STEP = 0.12  # more for the second object too many or too few
_GROUP_WEIGHT = {1: 1.3, 2: 1.0, 3: 0.8}  # a fault weighs more where there is less beside it

HALO_QUALITY = 0.22
"""How much of the opinion on quality is really consistency."""

HALO_CONSISTENCY = 0.22
"""How much of the opinion on consistency is really quality."""

MARKS = (1.0, 5.0)
"""Lowest and highest mark of the panel: the nominal range of the mean opinion scores."""

_PANEL_SIZE, _FEWEST_RATERS = 24, 15
_BIAS_SD, _INCONSISTENCY = 0.35, (0.45, 0.8)  # in marks

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class PanelScores:
    """What a panel gave, in [0, 1] by the range `MARKS`.

    Attributes:
        mos: Mean opinion scores (n,).
        std: Standard deviations over raters (n,).
    """

    mos: Vector
    std: Vector


def picture_quality(distortions: Sequence[Distortion]) -> float:
    """Quality of a picture alone in [0, 1]: product of 1 - severity * strength^0.8."""
    return float(np.prod([1 - SEVERITY[d.kind] * d.strength**0.8 for d in distortions]))


def agreement(faults: Sequence[Fault], n_groups: int) -> float:
    """Agreement of picture and prompt alone in [0, 1]: product of 1 - cost over the faults.

    Args:
        faults: The contradictions.
        n_groups: Groups that the prompt asks for, 1 to 3.
    """
    kept = 1.0
    for fault in faults:
        cost = COST[fault.kind] + (_COUNT_STEP if fault.amount > 1 else 0)
        kept *= 1 - min(0.9, cost * _GROUP_WEIGHT[n_groups])
    return kept


def true_opinions(quality: Vector, agreement: Vector) -> tuple[Vector, Vector]:
    """True mean opinions on quality and consistency (n,), both in [0, 1], with the halo."""
    seen_quality = (1 - HALO_QUALITY) * quality + HALO_QUALITY * agreement
    seen_consistency = (1 - HALO_CONSISTENCY) * agreement + HALO_CONSISTENCY * quality
    return seen_quality, seen_consistency


def draw_raters(n_images: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which rater saw which image (n_images, 24); 15 to 24 raters an image."""
    n_raters = rng.integers(_FEWEST_RATERS, _PANEL_SIZE + 1, size=n_images)
    places = rng.random((n_images, _PANEL_SIZE)).argsort(axis=1).argsort(axis=1)
    return places < n_raters[:, None]


def rate(true: Vector, seen: NDArray[np.bool_], rng: np.random.Generator) -> PanelScores:
    """Scores of the panel: whole marks from 1 to 5, each rater with a bias and an inconsistency.

    Args:
        true: True mean opinions (n,) in [0, 1].
        seen: Which rater saw which image (n, raters).
        rng: Source of all draws.
    """
    low, high = MARKS
    bias = rng.normal(0, _BIAS_SD, size=seen.shape[1])
    spread = rng.uniform(*_INCONSISTENCY, size=seen.shape[1])
    felt = low + (high - low) * true[:, None] + bias + spread * rng.normal(size=seen.shape)
    marks = np.where(seen, np.clip(np.rint(felt), low, high), np.nan)  # (n, raters)
    shares = (marks - low) / (high - low)
    return PanelScores(np.nanmean(shares, axis=1), np.nanstd(shares, axis=1, ddof=1))
