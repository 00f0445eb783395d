"""Whether files are as they were, by what the system notes of them; none is read."""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

MOST = 200_000
"""Files that are looked at; to ask the system for more would take longer than it saves."""


def state_of(places: Iterable[Path], leave_out: Collection[Path] = ()) -> str | None:
    """Digest of the name, size, number and times of every file at or below these places.

    Who writes to a file, or puts another in its place, moves the time of its last change, which
    no program can set. Folders behind links are entered, each once; those in which Python keeps
    what it compiled are not.

    Args:
        places: Files or folders; one that is not there counts as such.
        leave_out: Folders that are not entered.

    Returns:
        None where it cannot be told: a place is one of those left out, or there are too many files.
    """
    digest, looked_at = hashlib.sha256(), 0
    out = {number for folder in leave_out if (number := _number(folder))}
    seen = set(out)
    for place in places:
        if _number(place) in out:
            return None
        found = []
        for file in _files(place, seen):
            found.append(file)
            looked_at += 1
            if looked_at > MOST:
                return None
        for file in sorted(found):
            digest.update(f"{file}\0{_noted(file)}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files(place: Path, seen: set[tuple[int, int]]) -> Iterator[str]:
    if not place.is_dir():
        yield str(place)
        return
    for folder, folders, names in os.walk(place, followlinks=True):
        number = _number(Path(folder))
        if number is None or number in seen or Path(folder).name == "__pycache__":
            folders.clear()
            continue
        seen.add(number)
        yield from (os.path.join(folder, name) for name in names)


def _number(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:  # it is not there, or not to be looked at
        return None
    return found.st_dev, found.st_ino


def _noted(file: str) -> tuple[int, ...]:
    try:
        found = os.stat(file)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
