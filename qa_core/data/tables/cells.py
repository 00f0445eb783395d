"""From a file of rows to checked columns: what every reader of a rated table shares.

Rows are named in messages as `data row 1` for the first one below the header.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

import numpy as np
import pandas as pd

from qa_core.data.rated_table import MosRange
from qa_core.errors import UserError

NOMINAL_RANGES: tuple[MosRange, ...] = ((0, 1), (1, 5), (0, 5), (1, 10), (0, 10), (0, 100))
"""Usual rating scales, in the order in which they are tried where none is named."""

DELIMITERS = (",", ";", "\t")
_NAMES_TRIED = 20
_LONGEST_NAME = 80  # of an image, in a message


class TableError(UserError):
    """Rows that are wrong: the message tells the first, `problems` all of them.

    Args:
        problems: A sentence each.
    """

    def __init__(self, problems: list[str]):
        others = len(problems) - 1
        more = f" (and {others} more problem{'s' * (others > 1)}: make check-data lists all)"
        super().__init__(problems[0] + (more if others else ""))
        self.problems = problems


class RowProblems:
    """What is wrong with the rows of one file, gathered so that all of it can be told at once.

    Args:
        path: The file, for messages.
        names: Names of the images by row, for messages.
    """

    def __init__(self, path: Path, names: Iterable[object] = ()):
        self.path = path
        self._names = [*names]
        self._found: list[tuple[int, str]] = []

    def add(self, row: int, text: str, named: bool = True) -> None:
        """Note a problem of a row, counted from 0; the image's name stands before it."""
        image = f" ({clipped(self._names[row])})" if named and self._names else ""
        self._found.append((row, f"{self.path}, data row {row + 1}{image}: {text}"))

    def raise_if_any(self) -> None:
        """Raise TableError with all problems noted so far, by row."""
        if self._found:
            raise TableError([text for _, text in sorted(self._found, key=lambda found: found[0])])


def read_cells(path: Path) -> pd.DataFrame:
    """All cells of a delimited file or an .xlsx as stripped text; the header names the columns.

    The delimiter (comma, semicolon or tab) is the one that occurs most in the header; a byte-order
    mark is skipped. Beside semicolons, a comma in a number is read as its point.

    Raises:
        UserError: If the file is missing, not UTF-8, ragged or empty.
    """
    if path.suffix.lower() == ".xlsx":
        return _stripped(read_sheet(path), path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            delimiter = max(DELIMITERS, key=header.count)
            file.seek(0)
            cells = pd.read_csv(file, sep=delimiter, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such table.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save the table as UTF-8 CSV.") from None
    except pd.errors.EmptyDataError:
        raise UserError(f"{path} is empty; a header and one row an image are needed.") from None
    except (pd.errors.ParserError, IsADirectoryError) as error:
        raise UserError(f"{path} cannot be read as a table: {error}") from None
    if not isinstance(cells.index, pd.RangeIndex):  # pandas takes surplus cells for row names
        raise UserError(f"{path}: rows have more cells than the header has columns.")
    cells = _stripped(cells, path)
    if delimiter == ";":
        for name in cells.columns:
            if name.startswith(("mos_", "std_")):
                cells[name] = cells[name].str.replace(",", ".", regex=False)
    return cells


def read_sheet(path: Path, header: int | None = 0) -> pd.DataFrame:
    """The first sheet of an .xlsx as text; `header` None where its first row is data.

    Raises:
        UserError: If the file is missing or no spreadsheet.
    """
    try:
        return pd.read_excel(path, dtype=str, keep_default_na=False, header=header)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such table.") from None
    except Exception as error:  # a broken file breaks its readers (zip, XML) in their own ways
        raise UserError(f"{path} cannot be read as a spreadsheet: {error}") from None


def _stripped(cells: pd.DataFrame, path: Path) -> pd.DataFrame:
    if cells.empty:
        raise UserError(f"{path} has a header but no rows; add one row an image.")
    cells = cells.fillna("")  # cells that a short row lacks
    return pd.DataFrame({str(name).strip(): cells[name].str.strip() for name in cells.columns})


def require_columns(cells: pd.DataFrame, path: Path, names: tuple[str, ...]) -> None:
    """Raise UserError that names the first missing column and those that are there."""
    for name in names:
        if name not in cells.columns:
            present = ", ".join(cells.columns)
            raise UserError(f"{path}: column {name!r} is missing; the table has {present}.")


def check_texts(cells: pd.DataFrame, problems: RowProblems) -> None:
    """Note each empty `name` or `prompt`, and each image named twice."""
    for column in ("name", "prompt"):
        for row in np.flatnonzero(cells[column] == "").tolist():
            problems.add(row, f"column {column!r} is empty.", named=column != "name")
    first_of: dict[str, int] = {}
    for row, name in enumerate(cells["name"]):
        first = first_of.setdefault(name, row)
        if first != row and name:
            problems.add(
                row,
                f"image {clipped(name)} is already in data row {first + 1}; "
                "keep one row an image, with the mean of its ratings.",
                named=False,
            )


def parse_numbers(
    cells: pd.DataFrame, problems: RowProblems, column: str, blank_allowed: bool = False
) -> pd.Series:
    """A column as floats; NaN, and noted, where a cell is no finite number.

    Blanks become NaN without a note where they are allowed.
    """
    texts = cells[column]
    values = pd.Series(pd.to_numeric(texts, errors="coerce"), dtype=float, name=column)
    wrong = ~np.isfinite(values)
    if blank_allowed:
        wrong &= texts != ""
    for row in np.flatnonzero(wrong).tolist():
        problems.add(row, f"{column} is {texts.iloc[row]!r}, not a number.")
    return values.where(np.isfinite(values))


def choose_range(values: pd.Series, path: Path, column: str) -> MosRange:
    """The first nominal range that holds all values.

    Raises:
        UserError: If none does.
    """
    for low, high in NOMINAL_RANGES:
        if low <= values.min() and values.max() <= high:
            return low, high
    raise UserError(
        f"{path}: {column} runs from {values.min():g} to {values.max():g}, which no usual "
        "rating scale holds; name its range."
    )


def normalise(values: pd.Series, nominal: MosRange, problems: RowProblems) -> pd.Series:
    """Scores in [0, 1] by their nominal range; each score outside it is noted.

    Raises:
        UserError: If the range is empty.
    """
    low, high = nominal
    if not low < high:
        raise UserError(f"{problems.path}: {low:g} to {high:g} is no range for {values.name}.")
    for row in np.flatnonzero((values < low) | (values > high)).tolist():
        problems.add(
            row,
            f"{values.name} is {values.iloc[row]:g}, outside its range {low:g} to {high:g}.",
        )
    return (values - low) / (high - low)


def locate_images(
    cells: pd.DataFrame, problems: RowProblems, image_dir: Path, require_images: bool = True
) -> pd.Series:
    """Absolute paths of the images, as text; names that leave the folder or lack a file are noted.

    Where the table has a column `file`, it says where an image lies; else its name does. The folder
    may itself be a link, but what it holds must lie in it: a link to elsewhere leaves it.

    Raises:
        UserError: If there is no such folder.
    """
    folder = image_dir.resolve()
    if require_images and not folder.is_dir():
        raise UserError(f"{image_dir}: there is no such image folder.")
    files = cells["file"] if "file" in cells.columns else cells["name"]
    for row, name in enumerate(files):
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            problems.add(
                row,
                f"image path {clipped(name)} leaves the image folder; names must be relative to"
                " it.",
                named=False,
            )
        elif require_images and not os.path.isfile(folder / name):  # False for any name
            problems.add(row, f"image {clipped(name)} is not in {image_dir}.", named=False)
        elif require_images and not Path(os.path.realpath(folder / name)).is_relative_to(folder):
            problems.add(
                row,
                f"image {clipped(name)} is a link that leaves the image folder; copy the file into"
                " it.",
                named=False,
            )
    return pd.Series([str(folder / name) for name in files], dtype=str)


def clipped(text: object) -> str:
    """A name short enough for a message."""
    whole = str(text)
    return whole if len(whole) <= _LONGEST_NAME else f"{whole[:_LONGEST_NAME]}…"


def group_of(prompt: str) -> str:
    """What a split keeps together: the prompt, whatever its case and spacing."""
    return " ".join(prompt.split()).casefold()


def find_table(root: Path, *names: str) -> Path:
    """The first of these files that lies in a data set's folder or anywhere below it.

    Raises:
        UserError: If none does.
    """
    if not root.is_dir():
        raise UserError(f"{root}: there is no such folder.")
    for name in names:
        for folder in _folders(root):
            if (folder / name).is_file():
                return folder / name
    raise UserError(f"{root} holds no {' or '.join(names)}; give the data set's own folder.")


def find_images(root: Path, names: Sequence[str]) -> Path:
    """The folder, `root` or one below it, that holds an image of a table (the first few are tried).

    Raises:
        UserError: If none does.
    """
    for folder in _folders(root):
        if any(os.path.isfile(folder / name) for name in names[:_NAMES_TRIED]):
            return folder
    raise UserError(
        f"{root}: no folder in it holds {clipped(names[0])}, the first image of the table; unpack "
        "the images there or name their folder."
    )


def _folders(root: Path) -> list[Path]:
    """The folder and all below it, the nearest first."""
    found = [Path(folder) for folder, _, _ in os.walk(root)]
    return sorted(found, key=lambda folder: (len(folder.parts), str(folder)))
