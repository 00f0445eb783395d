"""Reader of the images of Q-Eval-100K (Zhang et al., CVPR 2025): quality and alignment."""

from pathlib import Path
from typing import Any

import pandas as pd

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.build import build_table
from qa_core.data.tables.entries import read_entries, require_entries
from qa_core.data.tables.images import find_table, image_folder
from qa_core.errors import UserError

READER_VERSION = "1"
FILES = {"mos_quality": "image_quality_train.json", "mos_align": "image_alignment_train.json"}


def read_qeval100k(
    root: Path, image_dir: Path | None = None, require_images: bool = True
) -> RatedTable:
    """Read the data set from its folder, which holds `Images_train_jsons`.

    Its two files list prompt, image_path, model and gt_score and are joined on image_path; an image
    that one of them lacks has no such score. No published source at hand states the scale, so it is
    the smallest usual one that holds all values of both, and a note says which.

    Args:
        root: The data set's folder.
        image_dir: Folder that image_path is relative to; without it, the one that holds the first.
        require_images: False reads the labels alone.

    Raises:
        UserError: If a file is missing or an entry is wrong, with file and row.
    """
    paths = {column: find_table(root, name) for column, name in FILES.items()}
    quality, align = (_read(path, column) for column, path in paths.items())
    cells = quality.merge(align, "outer", "name", suffixes=("", " beside it"))
    for column in ("prompt", "generator"):
        cells[column] = cells[column].fillna(cells[f"{column} beside it"])
    beside = cells["prompt beside it"].fillna(cells["prompt"])
    differ = [n for n, a, b in zip(cells["name"], cells["prompt"], beside, strict=True) if a != b]
    if differ:
        name = differ[0]
        raise UserError(
            f"{root}: {name} has one prompt in {FILES['mos_quality']}, and another in"
            f" {FILES['mos_align']}."
        )
    cells = cells.fillna("")
    path = paths["mos_quality"]
    folder = image_folder(root, image_dir, cells["name"].tolist(), require_images)
    return build_table(cells, path, folder, "qeval100k", READER_VERSION, {}, require_images)


def _read(path: Path, column: str) -> pd.DataFrame:
    entries = read_entries(path, ("prompt", "image_path"))
    require_entries(path, entries, _fault)
    rows = [
        {
            "name": entry["image_path"],
            "prompt": entry["prompt"].strip(),
            "generator": str(entry.get("model", "")),
            column: repr(entry["gt_score"]),
        }
        for entry in entries
    ]
    return pd.DataFrame(rows, dtype=str)


def _fault(entry: dict[str, Any]) -> str | None:
    score = entry.get("gt_score")
    return None if type(score) in (int, float) else f"gt_score is {score!r}, not a number."
