"""Single ratings, one per row or per column, aggregated to mean, SD and number per image."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from qa_core.data.findings import RowProblems, clipped
from qa_core.data.frames import column as series
from qa_core.data.tables.columns import NEAR
from qa_core.data.tables.numbers import is_missing, parse_numbers
from qa_core.errors import UserError

MOS = {"quality": "mos_quality", "align": "mos_align", "alignment": "mos_align"}
MOS |= {"consistency": "mos_consistency"}
"""How the column of one rater's scores may call its target, and the column that they become."""

_RATER = r"(?:rater|r|annotator|observer|participant)?[ _-]?\d+"
_BY_RATER = re.compile(
    rf"(?:mos[ _-])?(?P<a>{'|'.join(MOS)})(?:[ _-]?{_RATER})|{_RATER}[ _-](?P<b>{'|'.join(MOS)})",
    re.IGNORECASE,
)
_GIVEN = re.compile(r"(?P<a>mos_(?:quality|align|consistency)) \d+")
_LIST = r"\[[^\[\]]*\]"


@dataclass(frozen=True)
class Aggregated:
    """A table with one row an image.

    Attributes:
        cells: Text cells.
        extremes: The lowest and highest single rating by column, where there are single ratings.
        notes: Sentences on what was averaged.
    """

    cells: pd.DataFrame
    extremes: dict[str, tuple[float, float]]
    notes: list[str]


def aggregate_ratings(cells: pd.DataFrame, path: Path) -> Aggregated:
    """The table with one row an image: its mean ratings, their SD (ddof 1) and number.

    Ratings may stand in one column a rater (`mos_quality 1`, `quality_rater2`, `r3_align`), as a
    list in one cell (`[4, 5, 3]`), or in one row a rating: where a column `rater` says so, or most
    images have several rows.

    Raises:
        TableError: Ratings are no numbers, or rows of an image differ in what they should share.
        UserError: Columns look like raters, but not of which score.
    """
    if "name" not in cells.columns:
        return Aggregated(cells, {}, [])
    cells = _lists_to_columns(cells, path)
    ratings = _columns_of_raters(cells)
    if ratings:
        return _from_columns(cells, ratings, path)
    if _has_rows_of_ratings(cells):
        return _from_rows(cells, path)
    if not any(column in cells.columns for column in MOS.values()):
        _ask_for_target(cells, path)
    return Aggregated(cells, {}, [])


def _lists_to_columns(cells: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Each list of ratings in cells as columns `mos_x 1`, `mos_x 2` and so on."""
    for column in [c for c in dict.fromkeys(MOS.values()) if c in cells.columns]:
        texts = series(cells, column)
        given = pd.Series(texts[~is_missing(texts)])
        if not len(given) or not given.str.fullmatch(_LIST).all():
            continue
        lists = texts.map(_items)
        for number in range(max(lists.map(len))):
            texts = lists.map(lambda items, k=number: items[k] if k < len(items) else "")
            cells = cells.assign(**{f"{column} {number + 1}": texts})
        cells = cells.drop(columns=column)
    return cells


def _items(text: str) -> list[str]:
    try:
        return [str(item) for item in json.loads(text)]
    except ValueError:
        return [item.strip() for item in text.strip("[]").split(",")]


def _columns_of_raters(cells: pd.DataFrame) -> dict[str, list[str]]:
    """Columns of single raters, two at least, by the column that they become."""
    found: dict[str, list[str]] = {}
    for column in cells.columns:
        match = _GIVEN.fullmatch(column) or _BY_RATER.fullmatch(column)
        if match is not None:
            word = str(next(group for group in match.groups() if group)).casefold()
            found.setdefault(MOS.get(word, word), []).append(column)
    return {
        mos: columns
        for mos, columns in found.items()
        if len(columns) > 1 and mos not in cells.columns
    }


def _from_columns(cells: pd.DataFrame, ratings: dict[str, list[str]], path: Path) -> Aggregated:
    problems = RowProblems(path, cells)
    extremes: dict[str, tuple[float, float]] = {}
    notes: list[str] = []
    numbers: dict[str, pd.Series] = {}
    for mos, columns in ratings.items():
        parsed = [parse_numbers(cells, problems, column, True) for column in columns]
        values = pd.concat(parsed, axis=1)
        cells = cells.drop(columns=columns).assign(**_summary(mos, values))
        extremes[mos] = (float(values.min().min()), float(values.max().max()))
        numbers[mos] = values.notna().sum(axis=1)
        notes.append(
            f"{mos} is the mean of {len(columns)} columns of ratings, {columns[0]} to"
            f" {columns[-1]}."
        )
    problems.raise_if_any()
    return Aggregated(_with_raters(cells, numbers), extremes, notes)


def _summary(mos: str, values: pd.DataFrame) -> dict[str, pd.Series]:
    """Mean and SD of each row's ratings, as text."""
    spread = values.std(axis=1, ddof=1)
    return {mos: _as_text(values.mean(axis=1)), mos.replace("mos_", "std_"): _as_text(spread)}


def _as_text(values: pd.Series) -> pd.Series:
    return values.map(lambda value: "" if np.isnan(value) else repr(float(value))).astype(str)


def _with_raters(cells: pd.DataFrame, numbers: dict[str, pd.Series]) -> pd.DataFrame:
    """The cells with `n_raters`, the fewest that rated any score of an image."""
    if not numbers:
        return cells
    rated = pd.concat([n.where(n > 0) for n in numbers.values()], axis=1).min(axis=1)
    return cells.assign(n_raters=_as_text(rated))


def _has_rows_of_ratings(cells: pd.DataFrame) -> bool:
    counts = cells["name"].value_counts()
    if not (counts > 1).any() or "" in counts.index:
        return False
    differ = cells.duplicated().sum() < len(cells) - len(counts)  # else rows were pasted twice
    return "rater" in cells.columns or (bool((counts > 1).mean() > 0.5) and bool(differ))


def _from_rows(cells: pd.DataFrame, path: Path) -> Aggregated:
    problems = RowProblems(path, cells)
    columns = [column for column in dict.fromkeys(MOS.values()) if column in cells.columns]
    values = {column: parse_numbers(cells, problems, column, True) for column in columns}
    shared = [c for c in cells.columns if c in NEAR and c not in (*columns, "name", "rater")]
    first = cells.drop_duplicates("name").set_index("name")
    for column in shared:
        by_name = dict(zip(first.index, first[column], strict=True))
        expected = series(cells, "name").map(by_name)
        for place in np.flatnonzero(cells[column] != expected).tolist():
            problems.add(
                place,
                f"rows of an image differ in {column}",
                f"{column} is {clipped(cells[column].iloc[place])!r}, but"
                f" {clipped(expected.iloc[place])!r} in an earlier row of this image.",
            )
    problems.raise_if_any()
    kept = cells.drop_duplicates("name")
    numbers: dict[str, pd.Series] = {}
    names = series(kept, "name")
    for column, ratings in values.items():
        by_image = ratings.groupby(series(cells, "name"))
        summary = pd.DataFrame({"mean": by_image.mean(), "std": by_image.std(ddof=1)})
        numbers[column] = names.map(by_image.count().to_dict())
        kept = kept.assign(
            **{
                column: _as_text(names.map(summary["mean"].to_dict())),
                column.replace("mos_", "std_"): _as_text(names.map(summary["std"].to_dict())),
            }
        )
    extremes = {c: (float(v.min()), float(v.max())) for c, v in values.items() if v.notna().any()}
    notes = [
        f"{len(cells)} rows with one rating each are {len(kept)} images: {' and '.join(columns)} is"
        " their mean."
    ]
    return Aggregated(_with_raters(kept, numbers), extremes, notes)


def _ask_for_target(cells: pd.DataFrame, path: Path) -> None:
    columns = [column for column in cells.columns if re.fullmatch(_RATER, column, re.IGNORECASE)]
    if len(columns) > 1:
        raise UserError(
            f"{path}: {columns[0]} to {columns[-1]} look like one rater each; say of which score:"
            f" --columns mos_quality={','.join(columns[:2])},… (COLUMNS=), or a pattern as in"
            " mos_quality=rater*."
        )
