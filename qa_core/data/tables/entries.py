"""Entries of a published JSON file: checked against its description, and turned into text cells."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from qa_core.data.findings import Finding, TableError
from qa_core.data.tables.records import read_json
from qa_core.errors import UserError


def read_entries(path: Path, texts: Iterable[str]) -> list[dict[str, Any]]:
    """The objects of a JSON list, or the values of one object, each with these texts.

    Raises:
        TableError: Entries lack a text; it lists all of them.
        UserError: The file holds something else.
    """
    entries = read_json(path)
    if isinstance(entries, dict):
        entries = [
            {"id": key} | value if isinstance(value, dict) else value
            for key, value in entries.items()
        ]
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path} holds no list of images.")
    wanted = " or no ".join(texts)

    def fault(entry: Any) -> str | None:
        if not isinstance(entry, dict) or not all(name in entry for name in texts):
            return f"has no {wanted}."
        return None if all(_is_text(entry[name]) for name in texts) else f"{wanted} is no text."

    require_entries(path, entries, fault)
    return entries


def require_entries(path: Path, entries: list[Any], fault: Callable[[Any], str | None]) -> None:
    """Raise TableError that lists the entries with a fault, counted like data rows."""
    faults = [(number, fault(entry)) for number, entry in enumerate(entries, 1)]
    found = [
        Finding("entries are wrong", f"{path}, data row {number}: {text}")
        for number, text in faults
        if text is not None
    ]
    if found:
        raise TableError(found)


def is_rating(value: object) -> bool:
    """Whether this is a number, or a list of numbers, one a rater."""
    if isinstance(value, list):
        return len(value) > 0 and all(type(v) in (int, float) for v in value)
    return type(value) in (int, float)


def rating_cells(value: Any, word: str) -> dict[str, object]:
    """Text cells of a score: the mean of a list, its SD (ddof 1) and length, or a number."""
    if not isinstance(value, list):
        return {f"mos_{word}": value, f"std_{word}": "", "n_raters": ""}
    spread = np.std(value, ddof=1) if len(value) > 1 else ""
    return {f"mos_{word}": np.mean(value), f"std_{word}": spread, "n_raters": len(value)}


def _is_text(value: object) -> bool:
    return isinstance(value, str)
