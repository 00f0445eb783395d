"""Reader of EvalMuse-40K (Han et al., 2024): images with fine-grained ratings of alignment."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.cells import RowProblems, find_images, find_table
from qa_core.data.tables.csv_table import build_table
from qa_core.errors import UserError

READER_VERSION = "1"
RANGE = (1.0, 5.0)


def read_evalmuse40k(
    root: Path, image_dir: Path | None = None, require_images: bool = True
) -> RatedTable:
    """Read the rated part of the data set from its folder, which holds `train_list.json`.

    An image's consistency is the mean of `total_score`, a list with one rating a rater; its
    generator is the folder in `img_path`. There is no score of quality.

    Args:
        root: The data set's folder.
        image_dir: Folder that `img_path` is relative to; without it, the one that holds the first.
        require_images: False reads the labels alone.

    Raises:
        UserError: If a file is missing or an entry is wrong, with file and row.
    """
    path = find_table(root, "train_list.json")
    rows = [_row(entry) for entry in _read_entries(path)]
    cells = pd.DataFrame(rows).astype(str)
    if image_dir is None:
        image_dir = find_images(root, cells["name"].tolist()) if require_images else root
    ranges = {"quality": None, "consistency": RANGE}
    return build_table(
        cells, path, image_dir, "evalmuse40k", READER_VERSION, ranges, require_images
    )


def _read_entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path} holds no list of images.")
    problems = RowProblems(path)
    for row, entry in enumerate(entries):
        if not isinstance(entry, dict) or not {"prompt", "img_path"} <= entry.keys():
            problems.add(row, "has no prompt or no img_path.")
        elif not (isinstance(entry["prompt"], str) and isinstance(entry["img_path"], str)):
            problems.add(row, "prompt or img_path is no text.")
        elif not _are_ratings(entry.get("total_score")):
            problems.add(
                row, f"total_score is {entry.get('total_score')!r}, not a list of ratings."
            )
    problems.raise_if_any()
    return entries


def _are_ratings(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) > 0 and all(type(v) in (int, float) for v in value)
    )


def _row(entry: dict[str, Any]) -> dict[str, object]:
    ratings, place = entry["total_score"], PurePosixPath(entry["img_path"])
    return {
        "name": entry["img_path"],
        "prompt": str(entry["prompt"]).strip(),
        "mos_align": np.mean(ratings),
        "std_align": np.std(ratings, ddof=1) if len(ratings) > 1 else "",
        "n_raters": len(ratings),
        "generator": place.parent.name,
    }
