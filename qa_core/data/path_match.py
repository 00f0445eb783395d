"""Matching the rows of a list to files by their paths, never by their order."""

import unicodedata
from collections.abc import Iterable

from qa_core.errors import UserError

Parts = tuple[str, ...]


def path_parts(name: str) -> Parts:
    """A path's folders and name, whichever way its slashes lean, accents and endings are written.

    Some systems keep an accent as a sign of its own; some cameras write endings in capitals.
    """
    clean = unicodedata.normalize("NFC", str(name)).strip().replace("\\", "/")
    stem, dot, suffix = clean.rpartition(".")
    clean = f"{stem}{dot}{suffix.lower()}" if "/" not in suffix else clean
    return tuple(part for part in clean.split("/") if part not in ("", "."))


class PathMatch:
    """Finds each file's row: two paths fit where one is an end of the other.

    Args:
        names: The rows' paths, any number of folders before a name.
        source: What holds the rows, for messages.

    Raises:
        UserError: Two rows have the same path.
    """

    def __init__(self, names: Iterable[str], source: str):
        self._source = source
        self._names = list(names)
        self._row_of: dict[Parts, int] = {}
        self._by_end: dict[Parts, list[int]] = {}
        for row, name in enumerate(self._names):
            parts = path_parts(name)
            if (first := self._row_of.setdefault(parts, row)) != row:
                raise UserError(
                    f"{source} has {name} twice, in data rows {first + 1} and {row + 1}."
                )
            for start in range(len(parts)):
                self._by_end.setdefault(parts[start:], []).append(row)
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
            end = parts[start:]
            row = self._row_of.get(end)
            longer = self._by_end.get(end, []) if len(end) >= enough else []
            if row is None and len(longer) > 1:
                first, second = (self._names[row] for row in longer[:2])
                raise UserError(
                    f"{self._source}: both {first} and {second} may be {below or path}; write the"
                    " folder before the name."
                )
            row = longer[0] if row is None and longer else row
            if row is not None:
                return self._take(row, below or path)
        return None

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
