"""The tested images beside the runs: a table of them, and small pictures of those that are shown.

A report is built from MLflow alone, on another machine perhaps, where the images are not.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qa_core.data.rated_table import EXTRA
from qa_core.errors import UserError

MOST_SHOWN = 3000
"""Images that a report shows one by one; more would make a file that no browser likes to open."""
THUMBNAIL_PX = 144
_OWN_NAME, _LARGEST = re.compile(r"\d{1,9}\.webp"), 200_000
_AGAIN = "the same make ablation, run again where its images are, writes it."
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
    """What `write_images` wrote; a cell that reads "NA" stays text.

    Raises:
        UserError: The file is damaged.
    """
    numbers = {name: [""] for name in _COLUMNS if name.startswith(("mos_", "std_", "n_"))}
    try:
        texts = set(pd.read_csv(file, nrows=0).columns) - {"row", *numbers}
        read = pd.read_csv(
            file, index_col="row", keep_default_na=False, na_values=numbers,
            dtype=dict.fromkeys(texts, str),
        )  # fmt: skip
        lacks = {"name", "prompt", "group"} - set(read.columns)
        if lacks or not pd.api.types.is_integer_dtype(read.index):
            raise ValueError("it is no table of tested images")
    except Exception as error:  # readers raise whatever they like on damaged files
        raise UserError(f"{file} is damaged ({error}); delete it, and {_AGAIN}") from error
    return read


def write_thumbnails(file: Path, paths: Mapping[int, Path], workers: int = 2) -> None:
    """Write small pictures of images, by row, as one archive."""
    with ThreadPoolExecutor(workers) as pool, ZipFile(file, "w") as archive:
        for row, picture in zip(paths, pool.map(_thumbnail, paths.values()), strict=True):
            archive.writestr(ZipInfo(f"{row}.webp"), picture)


def read_thumbnails(file: Path) -> dict[int, bytes]:
    """WebP pictures by row; what is too large or named otherwise is not ours, and is left out.

    Raises:
        UserError: The archive is damaged.
    """
    try:
        with ZipFile(file) as archive:
            ours = [
                part
                for part in archive.infolist()
                if _OWN_NAME.fullmatch(part.filename) and part.file_size <= _LARGEST
            ]
            return {int(Path(p.filename).stem): archive.read(p) for p in ours[:MOST_SHOWN]}
    except Exception as error:  # every way of packing has errors of its own
        raise UserError(f"{file} is damaged ({error}); delete it, and {_AGAIN}") from error


def _thumbnail(path: Path) -> bytes:
    from qa_core.data.decode import decode_small

    stored = io.BytesIO()
    decode_small(path, THUMBNAIL_PX).save(stored, **_WEBP)
    return stored.getvalue()
