"""Reader of PKU-AIGIQA-4K (Yuan et al., 2024): 4,000 images, from text alone or text and image."""

from pathlib import Path

import numpy as np

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.cells import find_images, find_table, read_cells, require_columns
from qa_core.data.tables.csv_table import build_table

READER_VERSION = "1"

GENERATORS = {"midjourney": "Midjourney", "stable": "Stable Diffusion", "dalle": "DALL-E 3"}
"""What a file name contains of its generator's name, hyphens left out."""


def read_pku_aigiqa4k(
    root: Path, image_dir: Path | None = None, require_images: bool = True
) -> RatedTable:
    """Read the data set from its folder, which holds `annotation.xlsx`.

    `MOS_q` is quality and `MOS_c`, correspondence, consistency; `MOS_a`, authenticity, is not a
    target here. No published source at hand states the scale, so it is the smallest usual one that
    holds all values, and a note says which. `setting` tells images made from text alone from those
    made from text and image.

    Args:
        root: The data set's folder.
        image_dir: Folder of the generated images (`All`); without it, the one that holds the first.
        require_images: False reads the label table alone.

    Raises:
        UserError: If a file is missing or a row is wrong, with file and row.
    """
    path = find_table(root, "annotation.xlsx")
    cells = read_cells(path)
    require_columns(
        cells, path, ("Generated_image", "Image_prompt", "Text_prompt", "MOS_q", "MOS_c")
    )
    cells = cells.rename(
        columns={
            "Generated_image": "name",
            "Text_prompt": "prompt",
            "MOS_q": "mos_quality",
            "MOS_c": "mos_align",
        }
    )
    cells["setting"] = np.where(cells["Image_prompt"] == "", "text", "text and image")
    plain = cells["name"].str.lower().str.replace("-", "", regex=False)
    makers = plain.str.extract(f"({'|'.join(GENERATORS)})")[0].map(GENERATORS)
    if makers.notna().all():
        cells["generator"] = makers
    if image_dir is None:
        image_dir = find_images(root, cells["name"].tolist()) if require_images else root
    ranges = {"quality": None, "consistency": None}
    return build_table(
        cells, path, image_dir, "pku_aigiqa4k", READER_VERSION, ranges, require_images
    )
