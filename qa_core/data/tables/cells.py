"""From a file of rows to columns of text: the first step of every reader.

The index of a frame of cells has the rows' numbers in the file, from 0 below the header.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from qa_core.data.frames import column, rows_where
from qa_core.data.tables import records, spreadsheet
from qa_core.data.tables.columns import missing_columns
from qa_core.data.tables.delimited import read_delimited
from qa_core.data.tables.numbers import points_for_commas
from qa_core.errors import UserError

_OTHER_PROGRAMS = (".xls", ".ods", ".numbers")


def read_cells(path: Path) -> pd.DataFrame:
    """All cells of a table as stripped text; the header, or the entries' names, name the columns.

    Delimited text, .xlsx, JSON, JSON lines or parquet, by the name's ending. Rows with nothing in
    any cell are no rows. Beside semicolons and tabs, a comma in a number is read as its point.

    Raises:
        UserError: If the file is missing, damaged, ragged, empty or of another kind.
    """
    suffix = path.suffix.lower()
    if suffix in _OTHER_PROGRAMS:
        raise UserError(f"{path}: tables of this kind are not read; save it as .xlsx or CSV.")
    if suffix in records.SUFFIXES:
        return _filled(records.read_records(path), path)
    if suffix in spreadsheet.SUFFIXES:
        return _headed(spreadsheet.read_sheet(path), path)
    rows, delimiter = read_delimited(path)
    cells = _headed(rows, path)
    if delimiter != ",":
        columns = {n: points_for_commas(column(cells, n), surely=True) for n in cells.columns}
        cells = pd.DataFrame(columns)
    return cells


def _headed(rows: list[list[str]], path: Path) -> pd.DataFrame:
    """The rows below the first one that holds anything, which is the header."""
    filled = [number for number, row in enumerate(rows) if any(cell.strip() for cell in row)]
    if not filled:
        raise UserError(f"{path} is empty; a header and one row an image are needed.")
    header = [name.strip() for name in rows[filled[0]]]
    numbers = [number - filled[0] - 1 for number in filled[1:]]
    for name in header:
        if name and header.count(name) > 1:
            raise UserError(f"{path}: two columns are called {name!r}; rename one of them.")
    width = len(header)
    for number in filled[1:]:
        if any(cell.strip() for cell in rows[number][width:]):
            raise UserError(
                f"{path}, data row {number - filled[0]} has more cells than the header has columns;"
                " put texts that hold the delimiter in quotes."
            )
    body = [(rows[number] + [""] * width)[:width] for number in filled[1:]]
    columns = {
        name: [row[place] for row in body] for place, name in enumerate(header) if name
    }  # a column without a name cannot be asked for
    return _filled(pd.DataFrame(columns, index=pd.Index(numbers, dtype=int), dtype=str), path)


def _filled(cells: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The cells stripped, without rows that hold nothing."""
    stripped = {name: column(cells, name).str.strip() for name in cells.columns}
    cells = pd.DataFrame(stripped, index=cells.index, dtype=str)
    cells = rows_where(cells, (cells != "").any(axis=1))
    if cells.empty:
        raise UserError(f"{path} has a header but no rows; add one row an image.")
    return cells


def require_columns(cells: pd.DataFrame, path: Path, names: tuple[str, ...]) -> None:
    """Raise UserError that names the missing columns, those that are there, and near ones."""
    missing = [name for name in names if name not in cells.columns]
    if missing:
        raise UserError(missing_columns(cells, path, missing))


def pick_columns(cells: pd.DataFrame, path: Path, names: Mapping[str, str]) -> pd.DataFrame:
    """Columns of a published table by our names, found whatever the case of theirs.

    Args:
        cells: Text cells.
        path: Where they come from, for messages.
        names: Our name by theirs.

    Raises:
        UserError: If any is missing.
    """
    present = {name.casefold(): name for name in cells.columns}
    require_columns(cells, path, tuple(t for t in names if t.casefold() not in present))
    return pd.DataFrame({ours: cells[present[t.casefold()]] for t, ours in names.items()})
