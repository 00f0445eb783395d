"""AIGCIQA2023 as its makers publish it now: JSON with an official split and explanations."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qa_core.data.rated_table import MosRange, RatedTable
from qa_core.data.tables.build import build_table
from qa_core.data.tables.delimited import read_delimited
from qa_core.data.tables.entries import read_entries, require_entries
from qa_core.data.tables.images import Disk, find_file, find_images, find_table
from qa_core.errors import UserError
from qa_core.targets import TARGETS

READER_VERSION = "plus 1"
TRAIN, TEST = "mytraindict_llm_2023.json", "mytestdict_llm_2023.json"
INDEX = "AIGIQA2023+.csv"
"""Id, file and generator of each image, without header, in gb18030."""

SCORES = {"mos_quality": "moz1", "mos_align": "moz3"}
"""`moz2`, authenticity, is not a target here."""


SAMPLE = 50
"""Number of images that are tried to find how all of them are named."""


def read_plus(root: Path, image_dir: Path | None, require_images: bool) -> RatedTable:
    """Read `mytraindict_llm_2023.json` and `mytestdict_llm_2023.json`, the official split.

    An entry has id, img, prompt, moz1 to moz3, a question q1 and its answer a1; an image has an
    entry for each question, and its answers together are its explanation. `AIGIQA2023+.csv` tells
    the generator by id.

    Args:
        root: The data set's folder.
        image_dir: Folder of the images; without it, the one below `root` that holds them.
        require_images: False reads the labels alone.

    Raises:
        UserError: If a file is missing or an entry is wrong, with file and row.
    """
    path = find_table(root, TRAIN)
    parts = {"train": path, "test": find_table(root, TEST)}
    read = [_read_part(file, part) for part, file in parts.items()]
    cells = pd.concat(read, ignore_index=True)
    index = find_file(root, INDEX)
    notes: tuple[str, ...] = ()
    forms = [cells["name"].tolist()]
    if index is None:
        notes = (f"{INDEX} is not there, so the generators are not known.",)
    else:
        files, makers = _read_index(index, cells["id"].tolist())
        cells["generator"] = makers
        forms += [files, [f"{m}/{f}" for m, f in zip(makers, files, strict=True)]]
    cells["name"], folder = find_names(root, image_dir, forms, require_images)
    scale = range_of(*(cells[column].astype(float) for column in SCORES))
    ranges = dict.fromkeys(TARGETS, scale)
    return build_table(
        cells, path, folder, "aigciqa2023", READER_VERSION, ranges, require_images, notes
    )


def _read_part(path: Path, part: str) -> pd.DataFrame:
    entries = read_entries(path, ("img", "prompt"))
    require_entries(path, entries, _fault)
    images: dict[str, dict[str, str]] = {}
    answers: dict[str, list[str]] = {}
    for entry in entries:
        key = str(entry["id"])
        images[key] = {
            "id": key,
            "name": entry["img"],
            "prompt": entry["prompt"].strip(),
            "part": part,
        } | {column: str(entry[word]) for column, word in SCORES.items()}
        answers.setdefault(key, []).append(str(entry.get("a1") or "").strip())
    for key, image in images.items():
        image["explanation"] = " ".join(dict.fromkeys(filter(None, answers[key])))
    return pd.DataFrame(list(images.values()), dtype=str)


def _fault(entry: dict[str, Any]) -> str | None:
    if "id" not in entry:
        return "has no id."
    wrong = [w for w in SCORES.values() if not _is_number(entry.get(w))]
    return f"{wrong[0]} is {entry.get(wrong[0])!r}, not a number." if wrong else None


def _is_number(value: object) -> bool:
    try:
        return bool(np.isfinite(float(str(value))))
    except ValueError:
        return False


def _read_index(path: Path, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """File and generator by id.

    Raises:
        UserError: An image is not in it.
    """
    rows, _ = read_delimited(path, "gb18030")
    known = {row[0].strip(): (row[1].strip(), row[2].strip()) for row in rows if len(row) > 2}
    for key in ids:
        if key not in known:
            raise UserError(f"{path} has no row with the id {key}.")
    return [known[key][0] for key in ids], [known[key][1] for key in ids]


def range_of(*scores: Any) -> MosRange:
    """Which of the two scales that copies of this set have: 0 to 100, or its hundredths."""
    return (0.0, 100.0) if max(np.max(s) for s in scores) > 1 else (0.0, 1.0)


def find_names(
    root: Path, image_dir: Path | None, forms: Sequence[list[str]], require_images: bool
) -> tuple[list[str], Path]:
    """The names, of several forms, under which the images lie, and the folder they lie in.

    Raises:
        UserError: Images are needed, and under none of them is one there.
    """
    root = image_dir or root
    if not require_images:
        return forms[0], root
    disk = Disk()
    best, most = (forms[0], root), 0
    for names in forms:
        if len(set(names)) < len(names):
            continue  # files of several folders
        with contextlib.suppress(UserError):
            folder = find_images(root, names)
            there = sum(bool(disk.names(folder, name)) for name in names[:SAMPLE])
            if there > most:
                best, most = (names, folder), there
    return best if most else (forms[0], find_images(root, forms[0]))
