"""What may be said of differences between modes: better, worse, the same, or not decided.

Two questions are asked of every contrast of a family. Is there a difference: a two-sided test
against 0. Is it smaller than the margin: two one-sided tests against +- margin (Schuirmann, "A
Comparison of the Two One-Sided Tests Procedure and the Power Approach", 1987). Each question is a
Holm family of its own over *all* contrasts, so that of all wrong `better` and `worse` in a family
there is any in at most alpha of all studies, and likewise of all wrong `same`.

Lending the level of the first question to the second would not be sound: a difference of exactly
the margin is almost always called `better`, which would free its level for the others although its
own null of the second question is still true. Six such would err in up to 22 % of studies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from qa_core.records.schema import MARGIN
from reports.inference.estimates import Estimate
from reports.statistics import holm, holm_levels


class Word(StrEnum):
    """What is decided about a contrast, first against second."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    NOT_DECIDED = "not decided"

    @property
    def turned(self) -> "Word":
        """The same, second against first."""
        return {Word.BETTER: Word.WORSE, Word.WORSE: Word.BETTER}.get(self, self)


ALPHA = 0.05


@dataclass(frozen=True)
class Decision:
    """What is decided about one contrast, first against second.

    Attributes:
        word: `better` or `worse` where the first differs from the second, whether by much or not;
            else `same` where the difference lies within +- margin; else `not decided`.
        low: Lower bound of the interval that shows it, adjusted with the verdict: it excludes 0
            for `better` and `worse`, lies within +- margin for `same`, and holds 0 and an end of
            the margin for `not decided`.
        high: Its upper bound.
        within_margin: Whether the difference is shown to lie within +- margin, which a `better`
            may be too.
        margin: The margin.
        p_difference: Holm-adjusted p value against no difference.
        p_same: Holm-adjusted p value against a difference of the margin or more.
    """

    word: Word
    low: float
    high: float
    within_margin: bool
    margin: float
    p_difference: float
    p_same: float


def p_same(estimate: Estimate, margin: float) -> float:
    """P value of the two one-sided tests against a true difference of at least the margin."""
    return max(estimate.p_above(-margin), estimate.p_below(margin))


def decide_family(
    estimates: Sequence[Estimate], margin: float = MARGIN, alpha: float = ALPHA
) -> list[Decision]:
    """Decide all contrasts of one family.

    Args:
        estimates: The differences.
        margin: Above 0, fixed beforehand.
        alpha: Family-wise error of wrong `better` or `worse`, and that of wrong `same`.
    """
    if margin <= 0:
        raise ValueError(f"a margin of {margin:g} can never be shown; it must be above 0")
    if not estimates:
        return []
    different = np.array([estimate.p() for estimate in estimates])
    alike = np.array([p_same(estimate, margin) for estimate in estimates])
    pairs = zip(holm(different), holm(alike), strict=True)
    levels = zip(holm_levels(different, alpha), holm_levels(alike, alpha), strict=True)
    return [
        _decide(estimate, margin, alpha, (float(p[0]), float(p[1])), (float(at[0]), float(at[1])))
        for estimate, p, at in zip(estimates, pairs, levels, strict=True)
    ]


def _decide(
    estimate: Estimate,
    margin: float,
    alpha: float,
    p: tuple[float, float],
    levels: tuple[float, float],
) -> Decision:
    """One contrast from the adjusted p values and the levels of both questions."""
    difference = estimate.bounds(levels[0])
    # Two one-sided tests at a are an interval of coverage 1 - 2 a (Schuirmann 1987).
    alike = estimate.bounds(1 - 2 * (1 - levels[1]))
    word = Word.NOT_DECIDED
    shown = min(difference[0], alike[0]), max(difference[1], alike[1])
    if p[0] <= alpha:
        word, shown = Word.BETTER if estimate.mean > 0 else Word.WORSE, difference
    elif p[1] <= alpha:
        word, shown = Word.SAME, alike
    return Decision(word, *shown, p[1] <= alpha, margin, *p)
