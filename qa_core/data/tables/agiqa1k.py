"""Reader of AGIQA-1K (Zhang et al., 2023): 1,080 images by two generators, one score."""

from pathlib import Path

import pandas as pd

from qa_core.data.findings import RowProblems
from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.build import build_table
from qa_core.data.tables.cells import pick_columns, read_cells
from qa_core.data.tables.images import find_table, image_folder
from qa_core.data.tables.numbers import parse_numbers
from qa_core.targets import Target

READER_VERSION = "2"
RANGE = (0.0, 5.0)

GENERATORS = {"deepai": "stable-diffusion-v2", "dreamstudio": "stable-inpainting-v1"}
"""What the first letters of a file name stand for."""


def read_agiqa1k(
    root: Path, image_dir: Path | None = None, require_images: bool = True
) -> RatedTable:
    """Read the data set from its folder, which holds `AIGC_MOS_Zscore.xlsx`.

    Its one score is read as quality. Prompts that differ in their last two words, the style
    ("anime style", "realistic style"), show the same objects and are kept together by a split. The
    published table names one image in two rows: it is read once, with their mean.

    Args:
        root: The data set's folder.
        image_dir: Folder of the images; without it, the one that holds the first image.
        require_images: False reads the label table alone.

    Raises:
        UserError: If a file is missing or a row is wrong, with file and row.
    """
    path = find_table(root, "AIGC_MOS_Zscore.xlsx")
    wanted = {"Image": "name", "Prompt": "prompt", "MOS": "mos_quality"}
    cells, notes = _once_each(pick_columns(read_cells(path), path, wanted), path)
    cells["group"] = cells["prompt"].map(objects_of)
    makers = cells["name"].str.lower().str.extract(r"^([a-z]+)")[0].map(GENERATORS)
    if makers.notna().all():
        cells["generator"] = makers
    folder = image_folder(root, image_dir, cells["name"].tolist(), require_images)
    ranges = {Target.QUALITY: RANGE}
    return build_table(
        cells, path, folder, "agiqa1k", READER_VERSION, ranges, require_images, notes
    )


def _once_each(cells: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """One row an image, with the mean of its scores, and a sentence on each that had several."""
    problems = RowProblems(path, cells)
    scores = parse_numbers(cells, problems, "mos_quality")
    problems.raise_if_any()
    notes: list[str] = []
    rows_of = cells.reset_index(drop=True).groupby("name").indices
    for name, places in rows_of.items():
        if len(places) > 1:
            own = scores.iloc[places]
            rows = " and ".join(str(problems.number(place)) for place in places)
            values = " and ".join(str(value) for value in own)
            cells.loc[own.index, "mos_quality"] = repr(float(own.mean()))
            notes.append(
                f"{name} stands in data rows {rows}, with {values}: read once, as their mean."
            )
    return cells.drop_duplicates("name"), tuple(notes)


def objects_of(prompt: str) -> str:
    """The words of a prompt without punctuation and without its last two, the style."""
    words = prompt.replace(",", " ").replace("-", "").split()
    return " ".join(words[:-2]) or prompt
