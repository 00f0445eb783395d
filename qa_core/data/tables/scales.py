"""The scale on which people rated, and mapping its scores to [0, 1]."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from qa_core.data.findings import SHOWN, RowProblems
from qa_core.data.rated_table import MosRange
from qa_core.errors import UserError
from qa_core.targets import Target

NOMINAL_RANGES: tuple[MosRange, ...] = (
    *((0, 1), (1, 5), (0, 5), (1, 7), (1, 10), (0, 10), (0, 100)),
)
"""Usual rating scales, in the order in which they are tried where none is named."""

_ENDS = 0.05
"""Share of a scale's width: values closer than this to both ends leave no doubt about the scale."""

_UNLIKE = 0.25
"""Share of a scale's width that values which were rated on it go beyond."""


@dataclass(frozen=True)
class Seen:
    """The scores of a target as they stand in the table.

    Attributes:
        column: Name of their column.
        low: The lowest; of single ratings where the table has them.
        high: The highest.
    """

    column: str
    low: float
    high: float

    def lies_in(self, scale: MosRange) -> bool:
        """Whether a scale holds all of them."""
        return scale[0] <= self.low and self.high <= scale[1]

    def uses(self, scale: MosRange) -> float:
        """How far up a scale they come, in [0, 1]."""
        return (self.high - scale[0]) / (scale[1] - scale[0])


def choose_ranges(
    seen: Mapping[Target, Seen], named: Mapping[Target, MosRange | None], path: Path
) -> tuple[dict[Target, MosRange], list[str]]:
    """The nominal range of each target's scores, and sentences on those that nobody named.

    The scores of one table are taken to share a scale: the smallest usual one that holds all of
    them, or the one that is named for the other target.

    Raises:
        UserError: No usual scale holds the values, or two targets seem to have different ones.
    """
    ranges = {t: scale for t in seen if (scale := named.get(t)) is not None}
    open_ = [target for target in seen if target not in ranges]
    if not open_:
        return ranges, []
    own = {target: _smallest([seen[target]], path) for target in open_}
    named_scales = [
        scale for scale in ranges.values() if all(seen[t].lies_in(scale) for t in open_)
    ]
    shared = named_scales[0] if named_scales else _smallest([seen[t] for t in open_], path)
    if not named_scales and ranges:
        shared = own[open_[0]]
    for target in open_:
        if seen[target].uses(shared) < _UNLIKE and own[target] != shared:
            raise UserError(_two_scales(seen, path))
    return ranges | dict.fromkeys(open_, shared), [
        _said(seen[target], shared, bool(named_scales), len(open_) > 1) for target in open_
    ]


def _smallest(seen: list[Seen], path: Path) -> MosRange:
    for scale in NOMINAL_RANGES:
        if all(one.lies_in(scale) for one in seen):
            return scale
    wide = max(seen, key=lambda one: max(one.high, -one.low))
    raise UserError(
        f"{path}: {wide.column} runs from {wide.low:g} to {wide.high:g}, which no usual rating"
        " scale holds; name its range."
    )


def _two_scales(seen: Mapping[Target, Seen], path: Path) -> str:
    words = " and ".join(f"{s.column} from {s.low:g} to {s.high:g}" for s in seen.values())
    return (
        f"{path}: {words} seem to be on different scales; name both, as in RANGE_Q=1:5 RANGE_C=0:1"
        " (--range_q, --range_c)."
    )


def _said(seen: Seen, scale: MosRange, named: bool, together: bool) -> str:
    low, high = scale
    if named:
        why = "the one that is named for the other score"
    else:
        both = " of both scores" if together else ""
        why = f"the smallest usual one that holds all values{both}"
    width = high - low
    sure = seen.low <= low + _ENDS * width and seen.high >= high - _ENDS * width
    doubt = "" if sure else "; if people rated on another, name it (RANGE_Q, RANGE_C)"
    return (
        f"{seen.column} is read on the scale {low:g} to {high:g}, {why} ({seen.low:g} to"
        f" {seen.high:g}){doubt}."
    )


def normalise(values: pd.Series, nominal: MosRange, problems: RowProblems) -> pd.Series:
    """Scores in [0, 1] by their nominal range; what lies outside it is noted, NaN stays.

    A few scores outside are noted row by row, many in one sentence.

    Raises:
        UserError: If the range is empty.
    """
    low, high = nominal
    name = values.name
    if not low < high:
        raise UserError(f"{problems.path}: {low:g} to {high:g} is no range for {name}.")
    outside = np.flatnonzero((values < low) | (values > high)).tolist()
    if len(outside) > SHOWN:
        rows = ", ".join(str(problems.number(place)) for place in outside[:SHOWN])
        problems.add_whole(
            f"{name} is outside its range",
            f"{len(outside)} of {len(values)} values of {name} lie outside {low:g} to {high:g}"
            f" (data rows {rows} …): scores run {values.min():g} to {values.max():g}"
            f"{_try(values)}.",
        )
        return (values - low) / (high - low)
    for place in outside:
        problems.add(
            place,
            f"{name} is outside its range",
            f"{name} is {values.iloc[place]:g}, outside its range {low:g} to {high:g}.",
        )
    return (values - low) / (high - low)


def _try(values: pd.Series) -> str:
    seen = Seen(str(values.name), values.min(), values.max())
    fitting = [scale for scale in NOMINAL_RANGES if seen.lies_in(scale)]
    return f"; try {fitting[0][0]:g}:{fitting[0][1]:g}" if fitting else ""
