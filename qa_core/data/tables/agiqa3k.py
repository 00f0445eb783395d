"""Reader of AGIQA-3K (Li et al., TCSVT 2023): 2,982 images of 300 prompts by six generators."""

from pathlib import Path

from qa_core.data.findings import RowProblems
from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.build import build_table
from qa_core.data.tables.cells import read_cells, require_columns
from qa_core.data.tables.images import find_table, image_folder
from qa_core.targets import Target

READER_VERSION = "1"
RANGE = (0.0, 5.0)
"""Nominal range of both scores; the values seen are 0 to 4.489 and .021 to 4.286."""

NAME_PATTERN = r"^(?P<generator>.+)_(?P<setting>[A-Za-z]+)_\d+\.\w+$"
"""Such as `sd1.5_lowstep_017.jpg`; the number is the prompt's."""


def read_agiqa3k(
    root: Path, image_dir: Path | None = None, require_images: bool = True
) -> RatedTable:
    """Read the data set from its folder, which holds `data.csv`.

    Args:
        root: The data set's folder.
        image_dir: Folder of the images; without it, `root` or the folder in it that holds the
            first image, since its name varies between copies.
        require_images: False reads the label table alone, for splits and the pixel-free floor.

    Raises:
        UserError: If a file is missing or a row is wrong, with file and row.
    """
    path = find_table(root, "data.csv")
    cells = read_cells(path)
    require_columns(cells, path, ("name", "prompt", "mos_quality", "mos_align"))
    parts = cells["name"].str.extract(NAME_PATTERN)
    problems = RowProblems(path, cells)
    for place in parts["generator"].isna().to_numpy().nonzero()[0].tolist():
        text = "is not named like an AGIQA-3K image (generator_setting_number.jpg)."
        problems.add(place, "names are of another kind", text)
    problems.raise_if_any()
    cells = cells.assign(generator=parts["generator"], setting=parts["setting"])
    folder = image_folder(root, image_dir, cells["name"].tolist(), require_images)
    ranges = {Target.QUALITY: RANGE, Target.CONSISTENCY: RANGE}
    return build_table(cells, path, folder, "agiqa3k", READER_VERSION, ranges, require_images)
