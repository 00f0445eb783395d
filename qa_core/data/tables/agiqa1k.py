"""Reader of AGIQA-1K (Zhang et al., 2023): 1,080 images by two generators, one score."""

from pathlib import Path

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.cells import find_images, find_table, read_cells, require_columns
from qa_core.data.tables.csv_table import build_table

READER_VERSION = "1"
RANGE = (0.0, 5.0)

GENERATORS = {"deepai": "stable-diffusion-v2", "dreamstudio": "stable-inpainting-v1"}
"""What the first letters of a file name stand for."""


def read_agiqa1k(
    root: Path, image_dir: Path | None = None, require_images: bool = True
) -> RatedTable:
    """Read the data set from its folder, which holds `AIGC_MOS_Zscore.xlsx`.

    Its one score is read as quality. Prompts that differ in their last two words, the style
    ("anime style", "realistic style"), show the same objects and are kept together by a split.

    Args:
        root: The data set's folder.
        image_dir: Folder of the images; without it, the one that holds the first image.
        require_images: False reads the label table alone.

    Raises:
        UserError: If a file is missing or a row is wrong, with file and row.
    """
    path = find_table(root, "AIGC_MOS_Zscore.xlsx")
    cells = read_cells(path)
    require_columns(cells, path, ("Image", "Prompt", "MOS"))
    cells = cells.rename(columns={"Image": "name", "Prompt": "prompt", "MOS": "mos_quality"})
    cells["group"] = cells["prompt"].map(objects_of)
    makers = cells["name"].str.lower().str.extract(r"^([a-z]+)")[0].map(GENERATORS)
    if makers.notna().all():
        cells["generator"] = makers
    if image_dir is None:
        image_dir = find_images(root, cells["name"].tolist()) if require_images else root
    ranges = {"quality": RANGE, "consistency": None}
    return build_table(cells, path, image_dir, "agiqa1k", READER_VERSION, ranges, require_images)


def objects_of(prompt: str) -> str:
    """The words of a prompt without punctuation and without its last two, the style."""
    words = prompt.replace(",", " ").replace("-", "").split()
    return " ".join(words[:-2]) or prompt
