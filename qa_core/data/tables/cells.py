"""From a delimited text table to rated rows: what every reader of such a table shares.

Rows are named in messages as `data row 1` for the first one below the header.
"""

from pathlib import Path, PurePath

import numpy as np
import pandas as pd

from qa_core.data.rated_table import MosRange
from qa_core.errors import UserError

NOMINAL_RANGES: tuple[MosRange, ...] = ((0, 1), (1, 5), (0, 5), (1, 10), (0, 10), (0, 100))
"""Usual rating scales, in the order in which they are tried where none is named."""

DELIMITERS = (",", ";", "\t")


def read_cells(csv_path: Path) -> pd.DataFrame:
    """All cells of a delimited file as stripped text; the header names the columns.

    The delimiter (comma, semicolon or tab) is the one that occurs most in the header; a byte-order
    mark is skipped. Beside semicolons, a comma in a number is read as its point.

    Raises:
        UserError: If the file is missing, not UTF-8, ragged or empty.
    """
    try:
        with csv_path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            delimiter = max(DELIMITERS, key=header.count)
            file.seek(0)
            cells = pd.read_csv(file, sep=delimiter, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{csv_path}: there is no such table.") from None
    except UnicodeDecodeError:
        raise UserError(f"{csv_path} is not UTF-8 text; save the table as UTF-8 CSV.") from None
    except pd.errors.EmptyDataError:
        raise UserError(f"{csv_path} is empty; a header and one row an image are needed.") from None
    except (pd.errors.ParserError, IsADirectoryError) as error:
        raise UserError(f"{csv_path} cannot be read as a table: {error}") from None
    if not isinstance(cells.index, pd.RangeIndex):  # pandas takes surplus cells for row names
        raise UserError(f"{csv_path}: rows have more cells than the header has columns.")
    if cells.empty:
        raise UserError(f"{csv_path} has a header but no rows; add one row an image.")
    cells = cells.fillna("")  # cells that a short row lacks
    cells = pd.DataFrame({str(name).strip(): cells[name].str.strip() for name in cells.columns})
    if delimiter == ";":
        for name in cells.columns:
            if name.startswith(("mos_", "std_")):
                cells[name] = cells[name].str.replace(",", ".", regex=False)
    return cells


def require_columns(cells: pd.DataFrame, csv_path: Path, names: tuple[str, ...]) -> None:
    """Raise UserError that names the first missing column and those that are there."""
    for name in names:
        if name not in cells.columns:
            present = ", ".join(cells.columns)
            raise UserError(f"{csv_path}: column {name!r} is missing; the table has {present}.")


def check_texts(cells: pd.DataFrame, csv_path: Path) -> None:
    """Raise UserError at the first empty `name` or `prompt`, or image named twice."""
    for column in ("name", "prompt"):
        empty = np.flatnonzero(cells[column] == "")
        if len(empty):
            raise UserError(f"{csv_path}, data row {empty[0] + 1}: column {column!r} is empty.")
    again = np.flatnonzero(cells["name"].duplicated())
    if len(again):
        row, name = again[0], cells["name"].iloc[again[0]]
        first = int(np.flatnonzero(cells["name"] == name)[0])
        raise UserError(
            f"{csv_path}, data row {row + 1}: image {name} is already in data row {first + 1}; "
            "keep one row an image, with the mean of its ratings."
        )


def parse_numbers(
    cells: pd.DataFrame, csv_path: Path, column: str, blank_allowed: bool = False
) -> pd.Series:
    """A column as floats; blanks become NaN where they are allowed.

    Raises:
        UserError: At the first cell that is not a finite number.
    """
    texts = cells[column]
    values = pd.Series(pd.to_numeric(texts, errors="coerce"), dtype=float, name=column)
    wrong = ~np.isfinite(values)
    if blank_allowed:
        wrong &= texts != ""
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"{csv_path}, data row {row + 1} ({cells['name'].iloc[row]}): {column} is "
            f"{texts.iloc[row]!r}, not a number."
        )
    return values


def choose_range(values: pd.Series, csv_path: Path, column: str) -> MosRange:
    """The first nominal range that holds all values.

    Raises:
        UserError: If none does.
    """
    for low, high in NOMINAL_RANGES:
        if low <= values.min() and values.max() <= high:
            return low, high
    raise UserError(
        f"{csv_path}: {column} runs from {values.min():g} to {values.max():g}, which no usual "
        "rating scale holds; name its range."
    )


def normalise(
    values: pd.Series, nominal: MosRange, cells: pd.DataFrame, csv_path: Path
) -> pd.Series:
    """Scores in [0, 1] by their nominal range.

    Raises:
        UserError: If the range is empty, or at the first score outside it.
    """
    low, high = nominal
    if not low < high:
        raise UserError(f"{csv_path}: {low:g} to {high:g} is no range for {values.name}.")
    outside = np.flatnonzero((values < low) | (values > high))
    if len(outside):
        row = int(outside[0])
        raise UserError(
            f"{csv_path}, data row {row + 1} ({cells['name'].iloc[row]}): {values.name} is "
            f"{values.iloc[row]:g}, outside its range {low:g} to {high:g}."
        )
    return (values - low) / (high - low)


def locate_images(
    cells: pd.DataFrame, csv_path: Path, image_dir: Path, require_images: bool = True
) -> pd.Series:
    """Absolute paths of the images, as text.

    Raises:
        UserError: At a name that leaves the folder, or at the first missing file.
    """
    for row, name in enumerate(cells["name"]):
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise UserError(
                f"{csv_path}, data row {row + 1}: image path {name} leaves the image folder; "
                "names must be relative to it."
            )
    folder = image_dir.resolve()
    if require_images:
        if not folder.is_dir():
            raise UserError(f"{image_dir}: there is no such image folder.")
        missing = [row for row, name in enumerate(cells["name"]) if not (folder / name).is_file()]
        if missing:
            more = f" (and {len(missing) - 1} others)" if len(missing) > 1 else ""
            raise UserError(
                f"{csv_path}, data row {missing[0] + 1}: image "
                f"{cells['name'].iloc[missing[0]]}{more} is not in {image_dir}."
            )
    return pd.Series([str(folder / name) for name in cells["name"]], dtype=str)


def group_of(prompt: str) -> str:
    """What a split keeps together: the prompt, whatever its case and spacing."""
    return " ".join(prompt.split()).casefold()
