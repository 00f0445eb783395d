"""Matching the rows of a list to files by their paths, never by their order."""

import unicodedata
from collections.abc import Iterable

from qa_core.errors import UserError

Parts = tuple[str, ...]


def path_parts(name: str) -> Parts:
    """A path's folders and name, whichever way its slashes lean and its accents are written.

    Some systems keep an accent as a sign of its own.
    """
    clean = unicodedata.normalize("NFC", str(name)).strip().replace("\\", "/")
    return tuple(part for part in clean.split("/") if part not in ("", "."))


class PathMatch:
    """Finds each file's row: two paths fit where one is an end of the other.

    Capitals in the ending of a name (`.PNG`) count only where rows differ in nothing else.

    Args:
        names: The rows' paths, any number of folders before a name.
        source: What holds the rows, for messages.

    Raises:
        UserError: Two rows have the same path.
    """

    def __init__(self, names: Iterable[str], source: str):
        self._source = source
        self._names = list(names)
        self._parts = [path_parts(name) for name in self._names]
        self._by_end: dict[Parts, list[int]] = {}
        rows: dict[Parts, int] = {}
        for row, parts in enumerate(self._parts):
            if (first := rows.setdefault(parts, row)) != row:
                raise UserError(
                    f"{source} has {self._names[row]} twice, in data rows {first + 1} and"
                    f" {row + 1}."
                )
            for start in range(len(parts)):
                self._by_end.setdefault(_small_ending(parts[start:]), []).append(row)
        self._taken: dict[int, str] = {}

    def row(self, path: str, below: str | None = None) -> int | None:
        """The row of a file; None where there is none.

        Of several rows that fit, the one that shares the longest end with the path.

        Args:
            path: The file's path.
            below: The part of it that a longer path in a row must have: all of it by default.

        Raises:
            UserError: Several fit equally, or another file has this row already.
        """
        parts = path_parts(path)
        enough = len(parts if below is None else path_parts(below))
        for start in range(len(parts)):
            fit = self._fit(parts[start:], enough)
            if len(fit) > 1:
                first, second = (self._names[row] for row in fit[:2])
                raise UserError(
                    f"{self._source}: both {first} and {second} may be {below or path}; write the"
                    " folder before the name."
                )
            if fit:
                return self._take(fit[0], below or path)
        return None

    def _fit(self, end: Parts, enough: int) -> list[int]:
        """Rows of this path; or, if it is long enough, rows that end in it."""
        found = self._by_end.get(_small_ending(end), [])
        whole = [row for row in found if len(self._parts[row]) == len(end)]
        rows = whole or (found if len(end) >= enough else [])
        return [row for row in rows if self._parts[row][-1] == end[-1]] or rows

    def _take(self, row: int, path: str) -> int:
        other = self._taken.setdefault(row, path)
        if other != path:
            raise UserError(
                f"{self._source}: {self._names[row]} fits both {other} and {path}; write the folder"
                " before the name."
            )
        return row

    def left(self) -> list[str]:
        """Rows that no file has asked for."""
        return [name for row, name in enumerate(self._names) if row not in self._taken]


def _small_ending(parts: Parts) -> Parts:
    """The parts, the name's ending in small letters."""
    stem, dot, suffix = parts[-1].rpartition(".")
    return (*parts[:-1], f"{stem}{dot}{suffix.lower()}")
