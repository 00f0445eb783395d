"""Every pair of modes, the control among them, and what is decided about it.

The contrasts that the guide is about form the primary family, fixed beforehand; all other pairs,
those with the control among them, are a second one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from qa_core.measures.catalogue import SROCC
from reports.evidence.ablation import Ablation
from reports.inference.decisions import Decision, Word, decide_family
from reports.verdicts.decide import PRIMARY, SECONDARY
from reports.verdicts.measured import Measured, measure_pair

LIFT = ("residual", "traditional")
"""What residual learning lifts."""
BEST = tuple(
    ("residual_partial_freeze", rival) for rival in ("traditional", "residual", "linear_probe")
)
"""Partial freeze against each of its rivals."""
_PRIMARY_PAIRS = frozenset(map(frozenset, (LIFT, *BEST)))


@dataclass(frozen=True)
class Pair:
    """Test SROCC of one mode minus another's.

    Attributes:
        target: The target.
        first: The one.
        second: The other.
        measured: The difference.
        family: `primary` or `secondary`.
        decision: None where one split alone has no spread.
    """

    target: str
    first: str
    second: str
    measured: Measured
    family: str
    decision: Decision | None

    @property
    def verdict(self) -> Word:
        """What is decided."""
        return Word.NOT_DECIDED if self.decision is None else self.decision.word


def decide_pairs(ablation: Ablation, setting: str) -> list[Pair]:
    """Every pair that shares a split, on every target; none where the protocol decides nothing."""
    if not ablation.decides:
        return []
    found = [
        (target, first, second, measured)
        for target in ablation.targets
        for first, second in combinations(ablation.mode_names, 2)
        if len(
            (
                measured := measure_pair(ablation, first, second, SROCC.logged(target), setting)
            ).by_split
        )
    ]
    families = [_family(first, second) for _, first, second, _ in found]
    decisions: dict[int, Decision] = {}
    for family in (PRIMARY, SECONDARY):
        own = [number for number, name in enumerate(families) if name == family]
        decisions |= _decide([found[number][3] for number in own], own, ablation.margin)
    return [
        Pair(*one, family, decisions.get(number))
        for number, (one, family) in enumerate(zip(found, families, strict=True))
    ]


def _family(first: str, second: str) -> str:
    return PRIMARY if frozenset((first, second)) in _PRIMARY_PAIRS else SECONDARY


def _decide(
    measured: Sequence[Measured], numbers: Sequence[int], margin: float
) -> dict[int, Decision]:
    """Decisions of one family by number."""
    known = [
        (number, one.estimate)
        for number, one in zip(numbers, measured, strict=True)
        if one.estimate is not None
    ]
    decided = decide_family([estimate for _, estimate in known], margin)
    return {number: one for (number, _), one in zip(known, decided, strict=True)}
