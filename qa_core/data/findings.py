"""What is wrong or worth knowing in rows of a table, collected to be reported together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from qa_core.errors import UserError

SHOWN = 3
"""How many findings of a kind are told in full; the others are counted."""

_LONGEST_NAME = 80  # of an image, in a message


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        kind: What it has in common with others of its kind.
        text: A sentence of its own, with its row.
    """

    kind: str
    text: str


def told(findings: Iterable[Finding]) -> list[str]:
    """A sentence for the first findings of each kind, and how many more there are."""
    kinds: dict[str, list[str]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding.text)
    lines: list[str] = []
    for texts in kinds.values():
        lines += texts[:SHOWN]
        if len(texts) > SHOWN:
            lines.append(f"… and {len(texts) - SHOWN} more like this, {len(texts)} in all")
    return lines


class TableError(UserError):
    """Rows that are wrong: the message tells the first, `findings` all of them."""

    def __init__(self, findings: Sequence[Finding]):
        others = len(findings) - 1
        more = f" (and {others} more problem{'s' * (others > 1)}: make check-data tells of all)"
        super().__init__(findings[0].text + (more if others else ""))
        self.findings = tuple(findings)

    @property
    def problems(self) -> list[str]:
        """The sentence of each."""
        return [finding.text for finding in self.findings]


class RowProblems:
    """What is wrong with the rows of one file.

    Args:
        path: The file, for messages.
        cells: Its rows; their column `name` is for messages, and their index has the rows' numbers
            in the file, counted from 0 below the header.
    """

    def __init__(self, path: Path, cells: pd.DataFrame):
        self.path = path
        self._names = [str(name) for name in cells["name"]]
        self._numbers = [int(number) + 1 for number in cells.index]
        self._found: list[tuple[int, Finding]] = []

    def number(self, place: int) -> int:
        """The number in the file of the row at a place, counted from 1 below the header."""
        return self._numbers[place]

    def add(self, place: int, kind: str, text: str, named: bool = True) -> None:
        """Note a problem of the row at a place; the image's name stands before it."""
        image = f" ({clipped(self._names[place])})" if named else ""
        sentence = f"{self.path}, data row {self.number(place)}{image}: {text}"
        self._found.append((place, Finding(kind, sentence)))

    def add_whole(self, kind: str, text: str) -> None:
        """Note a problem of the whole file."""
        self._found.append((-1, Finding(kind, f"{self.path}: {text}")))

    def raise_if_any(self) -> None:
        """Raise TableError with all problems noted so far, by row."""
        if self._found:
            ordered = sorted(self._found, key=lambda found: found[0])
            raise TableError([finding for _, finding in ordered])


def clipped(text: object) -> str:
    """A name short enough for a message."""
    whole = str(text)
    return whole if len(whole) <= _LONGEST_NAME else f"{whole[:_LONGEST_NAME]}…"


def listed(words: Sequence[object], most: int = 8) -> str:
    """Words with commas between them, the first ones where there are many."""
    text = ", ".join(clipped(word) for word in words[:most])
    return text + (f" … ({len(words)} in all)" if len(words) > most else "")
