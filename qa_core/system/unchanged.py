"""Whether files are as they were, by what the system notes of them; none is read."""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path


def state_of(places: Iterable[Path], leave_out: Collection[Path] = ()) -> str:
    """Digest of the name, size, number and times of every file at or below these places.

    Who writes to a file, or puts another in its place, moves the time of its last change, which
    no program can set. Folders behind links are entered, each once.

    Args:
        places: Files or folders; one that is not there counts as such.
        leave_out: Folders that are not entered.
    """
    digest = hashlib.sha256()
    unseen = {_number(folder) for folder in leave_out if folder.is_dir()}
    for place in places:
        for file in sorted(_files(place, unseen)):
            digest.update(f"{file}\0{_noted(file)}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files(place: Path, seen: set[tuple[int, int]]) -> Iterator[str]:
    if not place.is_dir():
        yield str(place)
        return
    for folder, folders, names in os.walk(place, followlinks=True):
        if (number := _number(Path(folder))) in seen:
            folders.clear()
            continue
        seen.add(number)
        yield from (os.path.join(folder, name) for name in names)


def _number(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _noted(file: str) -> tuple[int, ...]:
    try:
        found = os.stat(file)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
