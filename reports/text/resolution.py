"""The smallest differences that an ablation can see, from the errors of its own contrasts."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Setting
from reports.evidence.ablation import Ablation
from reports.figures.style import format_score
from reports.inference.decisions import ALPHA
from reports.inference.power import smallest_difference, smallest_margin
from reports.language import say
from reports.verdicts.measured import measure_pair

LARGEST_DIFFERENCE = 1.0
"""In SROCC; if only larger ones would be seen, nothing is."""


@dataclass(frozen=True)
class Resolution:
    """What four of five repetitions of an ablation call on a target, all in SROCC.

    Attributes:
        single: The smallest true difference, for one contrast at .05.
        family: The same at Holm's strictest step, .05 over the family's size.
        margin: The smallest margin within which equal modes are called the same, at that step.
    """

    single: float
    family: float
    margin: float


def find_resolution(ablation: Ablation, target: str, family_size: int) -> Resolution | None:
    """From the median error of all pairs of modes; None where no pair has an error."""
    pairs = (
        measure_pair(ablation, first, second, SROCC.logged(target), Setting.GUIDE)
        for first, second in combinations(ablation.mode_names, 2)
    )
    estimates = [pair.estimate for pair in pairs if pair.estimate is not None]
    if not ablation.decides or not estimates:
        return None
    error = float(np.median([estimate.error for estimate in estimates]))
    degrees = min(estimate.degrees for estimate in estimates)
    alpha = ALPHA / max(family_size, 1)
    return Resolution(
        smallest_difference(error, degrees),
        smallest_difference(error, degrees, alpha),
        smallest_margin(error, degrees, alpha),
    )


def resolution_words(ablation: Ablation, target: str, found: Resolution | None) -> str:
    """The same for the cover."""
    if not ablation.decides:
        return say("{target}: unknown, since this protocol decides no claim", target=target)
    if found is None:
        return say("{target}: unknown, since no two modes share two splits", target=target)
    if found.single > LARGEST_DIFFERENCE:
        return say("{target}: none, these splits are too few to see any", target=target)
    if found.family > LARGEST_DIFFERENCE:
        return say(
            "{target}: {single} for one comparison planned beforehand, none at the strictest step "
            "of Holm’s family",
            target=target,
            single=format_score(found.single),
        )
    return say(
        "{target}: {single} for one comparison planned beforehand, {family} at the strictest step "
        "of Holm’s family",
        target=target,
        single=format_score(found.single),
        family=format_score(found.family),
    )
