"""Entries of JSON, JSON lines and parquet, as rows of text."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from qa_core.errors import UserError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet")


def read_records(path: Path) -> pd.DataFrame:
    """One row an entry, its values as text; a list of numbers stays in brackets.

    JSON is a list of objects, one object a line, or an object of columns. Values that are objects
    or bytes are no cells: their columns are left out.

    Raises:
        UserError: If the file is missing, damaged, or of another form.
    """
    if path.suffix.lower() == ".parquet":
        entries = _parquet(path)
    else:
        entries = read_json(path)
    if isinstance(entries, dict):
        entries = _by_column(entries, path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path} holds no list of entries with named values.")
    names = list(dict.fromkeys(str(name) for entry in entries for name in entry))
    columns = {name: [_text(entry.get(name)) for entry in entries] for name in names}
    return pd.DataFrame({n: texts for n, texts in columns.items() if None not in texts}, dtype=str)


def read_json(path: Path) -> Any:
    """What a JSON file holds; a list of what its lines hold where each is JSON of its own.

    Raises:
        UserError: If the file is missing or damaged.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such table.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read as a table: {error.strerror}.") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not lines[0].lstrip().startswith("{"):
            raise UserError(f"{path} is not JSON: {error}") from None
    return [_line(path, number, line) for number, line in enumerate(lines, 1)]


def _line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, entry {number} is not JSON: {error}") from None


def _parquet(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"{path}: there is no such table.")
    try:
        entries = pd.read_parquet(path).to_dict("records")  # which decodes its texts
    except Exception as error:  # a damaged file breaks its reader in many ways
        raise UserError(f"{path} cannot be read as parquet: {error}") from None
    return [{str(k): v for k, v in row.items()} for row in entries]


def _by_column(columns: dict[Any, Any], path: Path) -> list[dict[str, Any]]:
    """Entries of an object of columns: lists, or objects by row, all of one length."""
    values = [list(c.values()) if isinstance(c, dict) else c for c in columns.values()]
    lists = [value for value in values if isinstance(value, list)]
    if len(lists) < len(values) or len({len(value) for value in lists}) != 1:
        raise UserError(f"{path} holds no list of entries with named values.")
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def _text(value: Any) -> str | None:
    """A value as text, empty where it is none; None where it is no cell."""
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays
        value = value.tolist()
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple):
        numbers = all(isinstance(v, int | float) for v in value)
        return json.dumps(list(value)) if numbers else None
    return None if isinstance(value, dict | bytes | bytearray) else str(value)
