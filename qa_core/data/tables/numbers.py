"""Numbers as people and spreadsheet programs write them."""

import re

import numpy as np
import pandas as pd

from qa_core.data.findings import RowProblems
from qa_core.data.frames import column as series

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "–", "—"})
"""What a cell without a number may hold, whatever its case."""

_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_WITH_COMMA = r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+"
_DATE = "|".join(
    (
        r"\d{4}-\d\d?-\d\d?(T.*)?",
        r"\d+\.\d+\.\d+",
        r"\d\d?[-./ ][^\W\d_]{3,9}\.?([-./ ]\d+)?",
        r"[^\W\d_]{3,9}[-. ]\d{2,4}",
    )
)


def is_missing(texts: pd.Series) -> pd.Series:
    """Which cells (n,) hold no number on purpose."""
    return texts.str.casefold().isin(MISSING)


def points_for_commas(texts: pd.Series, surely: bool) -> pd.Series:
    """A column with decimal points where its numbers are written with decimal commas.

    Nothing is changed where the column has other things than such numbers, points without commas
    beside commas, or, unless `surely`, three digits behind every comma: 1,234 may be a thousand.

    Args:
        texts: Cells of one column.
        surely: The file's delimiter already says that its commas are decimal.
    """
    given = pd.Series(texts[~is_missing(texts)])
    commas = given.str.contains(",")
    whole = given.str.fullmatch(r"[+-]?\d+")
    with_commas = pd.Series(given[commas])
    if not len(with_commas) or not with_commas.str.fullmatch(_WITH_COMMA).all():
        return texts
    if not (commas | whole).all():
        return texts
    if not surely and with_commas.str.fullmatch(r"[^,]*,\d{3}").all():
        return texts
    changed = texts.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    return texts.where(is_missing(texts), changed)


def parse_numbers(
    cells: pd.DataFrame, problems: RowProblems, column: str, missing_allowed: bool = False
) -> pd.Series:
    """A column as floats; NaN, and noted, where a cell is no finite number.

    Missing ones become NaN without a note where they are allowed.
    """
    given = series(cells, column)
    texts = points_for_commas(given.str.replace("\u2212", "-"), surely=False)
    numbers = texts.str.fullmatch(_NUMBER, flags=re.ASCII)
    values = pd.Series(pd.to_numeric(texts.where(numbers), errors="coerce"), dtype=float)
    values = values.where(np.isfinite(values)).rename(column)
    wrong = values.isna() & ~(is_missing(given) & missing_allowed)
    for place in np.flatnonzero(wrong).tolist():
        text = given.iloc[place]
        problems.add(place, f"{column} is no number", f"{column} is {text!r}, {_fault(text)}.")
    return values


def _fault(text: str) -> str:
    """Why a text is no number, in words."""
    if text.startswith("#"):
        return "a formula's error, not a number; leave the cell empty where nobody rated"
    if re.fullmatch(_DATE, text):
        return "a date, not a number: spreadsheet programs make dates of numbers like 3.5"
    if re.fullmatch(r"[+-]?[\d.,' \u00a0\u202f]+\d", text) and re.search(
        r"\d[,' \u00a0\u202f]", text
    ):
        return "not a number; write all numbers of the column with a decimal point alone"
    return "not a number"
