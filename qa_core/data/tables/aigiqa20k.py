"""Reader of AIGIQA-20K (Li et al., CVPRW 2024): 20,000 images by 15 generators, one mixed score."""

from pathlib import Path

import pandas as pd

from qa_core.data.findings import RowProblems
from qa_core.data.frames import column
from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.build import build_table
from qa_core.data.tables.cells import read_cells, require_columns
from qa_core.data.tables.images import find_file, find_images, find_table
from qa_core.data.tables.numbers import is_missing
from qa_core.targets import Target

READER_VERSION = "2"
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

    The three tables (.csv or .xlsx) are the official split, kept in the column `part` where the
    test part is rated. Only the scores of `info_train` are public: parts that are absent or have
    none are left out, with a note.

    Args:
        root: The data set's folder.
        image_dir: Folder below which the images lie (default: `root`), all together or by part.
        require_images: False reads the label tables alone.

    Raises:
        UserError: If no table is there, none has scores, or a row is wrong, with file and row.
    """
    image_root = image_dir or root
    rated: list[pd.DataFrame] = []
    missing: list[str] = []
    for part, stem in TABLES.items():
        cells = _read_part(root, part, stem, image_root, require_images)
        missing += [stem] if cells is None else []
        rated += [] if cells is None else [cells]
    if not rated:
        path = find_table(
            root, *(f"{s}{end}" for s in TABLES.values() for end in (".csv", ".xlsx"))
        )
        require_columns(read_cells(path), path, ("mos",))
    cells = pd.concat(rated, ignore_index=True)
    notes = [MIXED]
    if missing:
        notes.append(f"{' and '.join(missing)}: absent or without scores, left out.")
    if "test" not in set(cells["part"]):
        cells = cells.drop(columns="part")
        notes.append("The official test part is missing, so protocol official cannot be run.")
    ranges = {Target.QUALITY: RANGE}
    return build_table(
        cells, root, image_root, "aigiqa20k", READER_VERSION, ranges, require_images, tuple(notes)
    )


def _read_part(
    root: Path, part: str, stem: str, image_root: Path, require_images: bool
) -> pd.DataFrame | None:
    """The cells of a part; None where it is absent or not rated."""
    path = find_file(root, f"{stem}.csv", f"{stem}.xlsx")
    if path is None:
        return None
    cells = read_cells(path)
    require_columns(cells, path, ("name", "prompt"))
    if "mos" not in cells.columns or is_missing(column(cells, "mos")).all():
        return None
    makers = cells["name"].str.extract(NAME_PATTERN)[0]
    problems = RowProblems(path, cells)
    for place in makers.isna().to_numpy().nonzero()[0].tolist():
        text = "is not named like an image of AIGIQA-20K (generator_number.png)."
        problems.add(place, "names are of another kind", text)
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
