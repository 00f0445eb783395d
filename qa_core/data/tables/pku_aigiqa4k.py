"""Reader of PKU-AIGIQA-4K (Yuan et al., 2024): 4,000 images, from text alone or text and image."""

from pathlib import Path

import numpy as np

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.build import build_table
from qa_core.data.tables.cells import pick_columns, read_cells
from qa_core.data.tables.images import find_table, image_folder

READER_VERSION = "2"

COLUMNS = {
    "Generated_image": "name",
    "Image_prompt": "image_prompt",
    "Text_prompt": "prompt",
    "MOS_q": "mos_quality",
    "MOS_c": "mos_align",
}
GENERATORS = {"midjourney": "Midjourney", "stable": "Stable Diffusion", "dalle": "DALL-E 3"}
"""What a file name contains of its generator's name, hyphens left out."""


def read_pku_aigiqa4k(
    root: Path, image_dir: Path | None = None, require_images: bool = True
) -> RatedTable:
    """Read the data set from its folder, which holds `annotation.xlsx`.

    `MOS_q` is quality and `MOS_c`, correspondence, consistency; `MOS_a`, authenticity, is not a
    target here. No published source at hand states the scale, so it is the smallest usual one that
    holds all values of both, and a note says which. `setting` tells images made from text alone
    from those made from text and image.

    Args:
        root: The data set's folder.
        image_dir: Folder of the generated images (`All`); without it, the one that holds the first.
        require_images: False reads the label table alone.

    Raises:
        UserError: If a file is missing or a row is wrong, with file and row.
    """
    path = find_table(root, "annotation.xlsx")
    cells = pick_columns(read_cells(path), path, COLUMNS)
    cells["setting"] = np.where(cells["image_prompt"] == "", "text", "text and image")
    plain = cells["name"].str.lower().str.replace("-", "", regex=False)
    makers = plain.str.extract(f"({'|'.join(GENERATORS)})")[0].map(GENERATORS)
    if makers.notna().all():
        cells["generator"] = makers
    folder = image_folder(root, image_dir, cells["name"].tolist(), require_images)
    return build_table(cells, path, folder, "pku_aigiqa4k", READER_VERSION, {}, require_images)
