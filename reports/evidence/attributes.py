"""By what tested images can be told apart: generator, length of the prompt, the table's columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qa_core.data.frames import column
from qa_core.data.rated_table import EXTRA
from reports.evidence.ablation import Ablation
from reports.language import phrase

PROMPT_LENGTH = phrase("words in the prompt")
MOST_LEVELS = 30
"""A column with more values is cut into bands where they are numbers, and left out elsewhere."""
BANDS = 4
_OURS = (phrase("generator"), phrase("setting"), phrase("explanation"))


@dataclass(frozen=True)
class Attribute:
    """One way to group the tested images.

    Attributes:
        name: The column's name in the table; one of ours is a phrase.
        levels: Its values in their order; blank where a cell is.
        level_of: Place in `levels` by row of the table.
    """

    name: str
    levels: tuple[str, ...]
    level_of: pd.Series


def describe_images(ablation: Ablation) -> pd.DataFrame:
    """What is known of each tested image, by row of the table.

    Without a table of images, which earlier versions did not log, as far as predictions tell.
    """
    if len(ablation.images):
        return ablation.images
    if ablation.predictions.empty:
        return pd.DataFrame()
    told = ["row", "name", "prompt", "group", "generator", "mos_quality", "mos_consistency"]
    known = [name for name in told if name in ablation.predictions]
    told_of: Any = ablation.predictions[known]
    return told_of.drop_duplicates("row").set_index("row").sort_index()


def find_attributes(ablation: Ablation) -> list[Attribute]:
    """The ways to group, those with more than one level: generator, prompt length, columns."""
    if ("attributes",) not in ablation.kept:
        ablation.kept[("attributes",)] = _attributes(describe_images(ablation))
    return ablation.kept[("attributes",)]


def _attributes(images: pd.DataFrame) -> list[Attribute]:
    if images.empty:
        return []
    columns: dict[str, pd.Series] = {}
    for name in _OURS:
        if name in images:
            columns[name] = column(images, name)
    lengths = images["prompt"].astype(str).str.split().str.len()
    columns[PROMPT_LENGTH] = lengths[lengths > 0].astype(str).reindex(images.index, fill_value="")
    for name in images.columns:
        if name.startswith(EXTRA):
            columns.setdefault(name.removeprefix(EXTRA), column(images, name))
    found = [_attribute(name, values.astype(str).str.strip()) for name, values in columns.items()]
    return [one for one in found if one is not None and len(one.levels) > 1]


def _attribute(name: str, values: pd.Series) -> Attribute | None:
    """A column as levels; None where it has too many that are no numbers."""
    filled = pd.Series(values[values != ""])
    numbers = pd.Series(pd.to_numeric(filled, errors="coerce"))
    is_number = bool(len(filled)) and bool(np.isfinite(numbers).all())
    few = filled.nunique() <= (BANDS if name == PROMPT_LENGTH else MOST_LEVELS)
    if is_number and not few:
        values = _bands(numbers).reindex(values.index, fill_value="")
    elif not few:
        return None
    present = set(values)
    levels = sorted(present - {""}, key=_in_order) + ([""] if "" in present else [])
    return Attribute(name, tuple(levels), values.map({level: k for k, level in enumerate(levels)}))


def _in_order(level: str) -> tuple[float, str]:
    """Numbers and bands by their number, then words."""
    try:
        return float(level.partition("–")[0]), level
    except ValueError:
        return np.inf, level.casefold()


def _bands(numbers: pd.Series) -> pd.Series:
    """Each number's band, `low–high`; bands hold about as many images each."""
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BANDS + 1)))
    band = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
    words = numbers.groupby(band).agg(_span)
    return pd.Series(words.loc[band].to_numpy(), index=numbers.index)


def _span(numbers: Sequence[float]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:g}" if low == high else f"{low:g}–{high:g}"
