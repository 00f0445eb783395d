"""The tested images beside the runs: a table of them, and small pictures of those that are shown.

A report is built from MLflow alone, on another machine perhaps, where the images are not.
"""

import hashlib
import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qa_core.data.rated_table import EXTRA

MOST_SHOWN = 3000
"""Images that a report shows one by one; more would make a file that no browser likes to open."""
THUMBNAIL_PX = 144
_WEBP = {"format": "WEBP", "quality": 60, "method": 1}
_COLUMNS = ("name", "prompt", "group", "generator", "setting", "explanation", "mos_quality",
            "mos_consistency", "std_quality", "std_consistency", "n_raters")  # fmt: skip


def rows_shown(
    tests: Iterable[tuple[NDArray[np.int64], NDArray[np.str_]]], most: int = MOST_SHOWN
) -> list[int]:
    """Rows of the first tested images, split after split; within a split, prompt after prompt.

    Prompts come in an order that has nothing to do with that of the table: what is sorted by
    generator there is shown by all of them.

    Args:
        tests: Of each split, the rows tested (n,) and what is kept together, by row (n,).
        most: How many at most.
    """
    shown: dict[int, None] = {}
    for rows, groups in tests:
        order = {group: hashlib.sha256(group.encode()).digest() for group in set(groups.tolist())}
        keys = [order[group] for group in groups.tolist()]
        for _, row in sorted(zip(keys, rows.tolist(), strict=True)):
            if len(shown) == most:
                return list(shown)
            shown.setdefault(row)
    return list(shown)


def write_images(file: Path, frame: pd.DataFrame) -> None:
    """Write what a table says of its rows, which the index numbers, as CSV."""
    known = [c for c in frame.columns if c in _COLUMNS or c.startswith(EXTRA)]
    frame[known].to_csv(file, index_label="row", lineterminator="\n")


def read_images(file: Path) -> pd.DataFrame:
    """What `write_images` wrote; a cell that reads "NA" stays text."""
    numbers = {name: [""] for name in _COLUMNS if name.startswith(("mos_", "std_", "n_"))}
    return pd.read_csv(
        file, index_col="row", keep_default_na=False, na_values=numbers,
        dtype={name: str for name in pd.read_csv(file, nrows=0).columns
               if name not in {"row", *numbers}},
    )  # fmt: skip


def write_thumbnails(file: Path, paths: Mapping[int, Path], workers: int = 2) -> None:
    """Write small pictures of images, by row, as one archive."""
    with ThreadPoolExecutor(workers) as pool, ZipFile(file, "w") as archive:
        for row, picture in zip(paths, pool.map(_thumbnail, paths.values()), strict=True):
            archive.writestr(ZipInfo(f"{row}.webp"), picture)


def read_thumbnails(file: Path) -> dict[int, bytes]:
    """WebP pictures by row."""
    with ZipFile(file) as archive:
        return {int(Path(name).stem): archive.read(name) for name in archive.namelist()}


def _thumbnail(path: Path) -> bytes:
    from qa_core.data.decode import decode_small

    stored = io.BytesIO()
    decode_small(path, THUMBNAIL_PX).save(stored, **_WEBP)
    return stored.getvalue()
