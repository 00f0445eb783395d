"""Reader of AIGIQA-20K (Li et al., CVPRW 2024): 20,000 images by 15 generators, one mixed score."""

from pathlib import Path

import pandas as pd

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.cells import (
    RowProblems,
    find_images,
    find_table,
    read_cells,
    require_columns,
)
from qa_core.data.tables.csv_table import build_table

READER_VERSION = "1"
RANGE = (0.0, 5.0)
"""The values seen are .12 to 4.98."""

TABLES = {"train": "info_train", "validation": "info_val", "test": "info_test"}
NAME_PATTERN = r"^(.+)_\d+\.\w+$"
"""Such as `DALLE2_0001.png`; the number is the image's."""

MIXED = "The one score mixes quality and alignment; it is read as quality."


def read_aigiqa20k(
    root: Path, image_dir: Path | None = None, require_images: bool = True
) -> RatedTable:
    """Read the data set from its folder, which holds `info_train`, `info_val` and `info_test`.

    The three tables (.csv or .xlsx) are the official split, kept in the column `part`.

    Args:
        root: The data set's folder.
        image_dir: Folder below which the images lie (default: `root`), all together or by part.
        require_images: False reads the label tables alone.

    Raises:
        UserError: If a file is missing or a row is wrong, with file and row.
    """
    image_root = image_dir or root
    parts = [
        _read_part(root, part, stem, image_root, require_images) for part, stem in TABLES.items()
    ]
    cells = pd.concat(parts, ignore_index=True)
    ranges = {"quality": RANGE, "consistency": None}
    return build_table(
        cells, root, image_root, "aigiqa20k", READER_VERSION, ranges, require_images, (MIXED,)
    )


def _read_part(
    root: Path, part: str, stem: str, image_root: Path, require_images: bool
) -> pd.DataFrame:
    path = find_table(root, f"{stem}.csv", f"{stem}.xlsx")
    cells = read_cells(path)
    require_columns(cells, path, ("name", "prompt", "mos"))
    makers = cells["name"].str.extract(NAME_PATTERN)[0]
    problems = RowProblems(path, cells["name"])
    for row in makers.index[makers.isna()]:
        problems.add(row, "is not named like an image of AIGIQA-20K (generator_number.png).")
    problems.raise_if_any()
    folder = Path()
    if require_images:
        folder = find_images(image_root, cells["name"].tolist()).relative_to(image_root)
    return pd.DataFrame(
        {
            "name": cells["name"],
            "file": [str(folder / name) for name in cells["name"]],
            "prompt": cells["prompt"],
            "mos_quality": cells["mos"],
            "generator": makers,
            "part": part,
        }
    )
