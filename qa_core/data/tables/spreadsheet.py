"""Rows of a spreadsheet, as text."""

import datetime
from pathlib import Path
from typing import Any

from qa_core.errors import UserError

SUFFIXES = (".xlsx", ".xlsm")


def read_sheet(path: Path) -> list[list[str]]:
    """All rows of the first sheet that holds anything, the header among them.

    A formula is read by the value that the spreadsheet program computed.

    Raises:
        UserError: If the file is missing, no spreadsheet, or a formula's value is not in it.
    """
    found = _values(path, computed=True)
    if any(None in row and any(cell is not None for cell in row) for row in found):
        _require_computed(path, found)
    return [[_text(cell) for cell in row] for row in found]


def _values(path: Path, computed: bool) -> list[tuple[Any, ...]]:
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=computed)
        rows: list[tuple[Any, ...]] = []
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # which some programs write wrongly
            rows = list(sheet.iter_rows(values_only=True))
            if any(cell is not None for row in rows for cell in row):
                break
        book.close()
        return rows
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such table.") from None
    except Exception as error:  # a broken file breaks its readers (zip, XML) in their own ways
        raise UserError(f"{path} cannot be read as a spreadsheet: {error}") from None


def _require_computed(path: Path, found: list[tuple[Any, ...]]) -> None:
    written = _values(path, computed=False)
    for number, (values, formulas) in enumerate(zip(found, written, strict=True), 1):
        for value, formula in zip(values, formulas, strict=False):
            if value is None and str(formula or "").startswith("="):
                raise UserError(
                    f"{path}, row {number} of the sheet: the formula {formula} has no value in the"
                    " file; open it in a spreadsheet program and save it there, or as CSV."
                )


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    return str(cell)
