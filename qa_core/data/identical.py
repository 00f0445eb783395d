"""Images that are the same file in several rows: counted, and kept on one side of every split."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from qa_core.data.rated_table import RatedTable


def first_copies(paths: Sequence[Path]) -> np.ndarray:
    """For each row, the first row (n,) whose file has the same bytes.

    Only files of equal size are read; files that are empty or cannot be read are like no other.
    """
    sizes = [_size(path) for path in paths]
    counts = Counter(sizes)
    first_of: dict[bytes, int] = {}
    first = np.arange(len(paths))
    for row, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        if size and counts[size] > 1 and (digest := _digest(path)) is not None:
            first[row] = first_of.setdefault(digest, row)
    return first


def joined_groups(groups: Sequence[str], first: np.ndarray) -> np.ndarray:
    """The groups (n,), those that share an image made one, by the name of the earliest.

    Args:
        groups: What a split keeps together, one a row.
        first: As of `first_copies`.
    """
    parent = {name: name for name in groups}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for row in np.flatnonzero(first != np.arange(len(first))).tolist():
        one, other = root(groups[int(first[row])]), root(groups[row])
        parent[other] = one
    return np.array([root(name) for name in groups], dtype=object)


def keep_copies_together(tables: Sequence[RatedTable]) -> list[RatedTable]:
    """The tables, in whose groups identical images are together, within and across tables."""
    frames = [table.frame for table in tables]
    whole = pd.concat([frame[["image_path", "group"]] for frame in frames], ignore_index=True)
    first = first_copies([Path(path) for path in whole["image_path"]])
    copies = first != np.arange(len(first))
    if not copies.any():
        return list(tables)
    groups = [str(name) for name in whole["group"]]
    joined = joined_groups(groups, first)
    apart = sum(groups[row] != groups[first[row]] for row in np.flatnonzero(copies).tolist())
    note = f"{copies.sum()} images are the same file as an earlier one" + (
        f", {apart} of them under another prompt; a split keeps these together." if apart else "."
    )
    starts = np.cumsum([0, *map(len, frames)])
    changed = [
        replace(table, frame=table.frame.assign(group=joined[start : start + len(table.frame)]))
        for table, start in zip(tables, starts[:-1], strict=True)
    ]
    return [replace(changed[0], notes=(*changed[0].notes, note)), *changed[1:]]


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _digest(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None
