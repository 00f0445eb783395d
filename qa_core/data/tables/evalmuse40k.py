"""Reader of EvalMuse-40K (Han et al., 2024): images with fine-grained ratings of alignment."""

from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.build import build_table
from qa_core.data.tables.entries import is_rating, rating_cells, read_entries, require_entries
from qa_core.data.tables.images import find_file, find_table, image_folder
from qa_core.targets import Target

READER_VERSION = "2"
RANGE = (1.0, 5.0)
FILES = {"train": "train_list.json", "test": "test.json"}


def read_evalmuse40k(
    root: Path, image_dir: Path | None = None, require_images: bool = True
) -> RatedTable:
    """Read the rated part of the data set from its folder: `train_list.json`, `test.json` or both.

    An image's consistency is `total_score`, or the mean of it where it is a list with one rating a
    rater; its generator is the folder in `img_path`. There is no score of quality. Where both files
    have scores, they are the official split.

    Args:
        root: The data set's folder.
        image_dir: Folder that `img_path` is relative to; without it, the one that holds the first.
        require_images: False reads the labels alone.

    Raises:
        UserError: If a file is missing or an entry is wrong, with file and row.
    """
    path = find_table(root, *FILES.values())
    found = {part: find_file(root, name) for part, name in FILES.items()}
    read = {part: _read(file) for part, file in found.items() if file is not None}
    unrated = [FILES[part] for part, rows in read.items() if not rows]
    parts = [part for part, rows in read.items() if rows]
    rows = [row | {"part": part} for part in parts for row in read[part]]
    if not rows:
        require_entries(path, [None], lambda entry: "has no total_score, like all others.")
    cells = pd.DataFrame(rows).astype(str)
    if len(parts) < len(FILES):
        cells = cells.drop(columns="part")
    notes = tuple(f"{name} holds no scores and is left out." for name in unrated)
    folder = image_folder(root, image_dir, cells["name"].tolist(), require_images)
    ranges = {Target.CONSISTENCY: RANGE}
    return build_table(
        cells, path, folder, "evalmuse40k", READER_VERSION, ranges, require_images, notes
    )


def _read(path: Path) -> list[dict[str, object]]:
    """The rows of a file; none where no entry has a score."""
    entries = read_entries(path, ("prompt", "img_path"))
    if not any("total_score" in entry for entry in entries):
        return []
    require_entries(path, entries, _fault)
    return [_row(entry) for entry in entries]


def _fault(entry: dict[str, Any]) -> str | None:
    score = entry.get("total_score")
    return None if is_rating(score) else f"total_score is {score!r}, no rating and no list of them."


def _row(entry: dict[str, Any]) -> dict[str, object]:
    place = PurePosixPath(entry["img_path"])
    return {
        "name": entry["img_path"],
        "prompt": entry["prompt"].strip(),
        "generator": place.parent.name,
    } | rating_cells(entry["total_score"], "align")
