"""Reader of one's own data: any CSV with image names, prompts and mean opinion scores."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from qa_core.data.rated_table import MosRange, RatedTable
from qa_core.data.tables.cells import (
    check_texts,
    choose_range,
    group_of,
    locate_images,
    normalise,
    parse_numbers,
    read_cells,
    require_columns,
)
from qa_core.errors import UserError

READER_VERSION = "1"

COLUMNS = {"quality": ("quality",), "consistency": ("align", "consistency")}
"""Target, and how `mos_*` and `std_*` columns may call it."""


def read_csv_table(
    csv_path: Path,
    image_dir: Path,
    range_quality: MosRange | None = None,
    range_consistency: MosRange | None = None,
    explanation_column: str = "explanation",
) -> RatedTable:
    """Read a table with columns name, prompt, mos_quality and mos_align (one may be absent).

    `mos_consistency` is another name of `mos_align`. Optional: generator, setting, explanation,
    std_quality, std_align (or std_consistency), n_raters.

    Args:
        csv_path: The table; comma, semicolon or tab; UTF-8.
        image_dir: The folder that names are relative to.
        range_quality: Nominal range of the quality scores; without it, the smallest usual one that
            holds all values, said in `notes`.
        range_consistency: The same for consistency.
        explanation_column: The column that says the faults in words.

    Raises:
        UserError: At the first thing that is wrong, with file, row and column.
    """
    cells = read_cells(csv_path)
    if explanation_column in cells.columns:
        cells = cells.rename(columns={explanation_column: "explanation"})
    elif explanation_column != "explanation":
        require_columns(cells, csv_path, (explanation_column,))
    name = csv_path.absolute().parent.name if csv_path.stem == "data" else csv_path.stem
    ranges = {"quality": range_quality, "consistency": range_consistency}
    return build_table(cells, csv_path, image_dir, name, READER_VERSION, ranges)


def build_table(
    cells: pd.DataFrame,
    csv_path: Path,
    image_dir: Path,
    name: str,
    version: str,
    ranges: Mapping[str, MosRange | None],
    require_images: bool = True,
) -> RatedTable:
    """The rated table of text cells with the columns of `read_csv_table`.

    Args:
        cells: Text cells, one row an image.
        csv_path: Where they come from, for messages.
        image_dir: The folder that names are relative to.
        name: Name of the data set.
        version: Version of its reader.
        ranges: Nominal range by target, None where it is to be chosen.
        require_images: Whether a missing image file is an error.

    Raises:
        UserError: At the first thing that is wrong, with file, row and column.
    """
    require_columns(cells, csv_path, ("name", "prompt"))
    check_texts(cells, csv_path)
    frame = pd.DataFrame(
        {
            "name": cells["name"],
            "image_path": locate_images(cells, csv_path, image_dir, require_images),
            "prompt": cells["prompt"],
            "group": cells["prompt"].map(group_of),
        }
    )

    used: dict[str, MosRange | None] = {}
    notes: list[str] = []
    for target in COLUMNS:
        used[target] = _add_scores(frame, cells, csv_path, target, ranges[target], notes)
    if not any(used.values()):
        raise UserError(f"{csv_path}: columns 'mos_quality' and 'mos_align' are both missing.")

    for column in ("generator", "setting", "explanation"):
        if column in cells.columns and any(cells[column]):
            frame[column] = cells[column]
    if "n_raters" in cells.columns:
        frame["n_raters"] = parse_numbers(cells, csv_path, "n_raters", blank_allowed=True)
    return RatedTable(frame, name, version, used["quality"], used["consistency"], tuple(notes))


def _add_scores(
    frame: pd.DataFrame,
    cells: pd.DataFrame,
    csv_path: Path,
    target: str,
    nominal: MosRange | None,
    notes: list[str],
) -> MosRange | None:
    """Add a target's MOS and standard deviation to the frame; its range, None without scores."""
    column = _column_of(cells, csv_path, "mos", target)
    if column is None:
        return None
    values = parse_numbers(cells, csv_path, column)
    if nominal is None:
        nominal = choose_range(values, csv_path, column)
        notes.append(
            f"{column} is read on the scale {nominal[0]:g} to {nominal[1]:g}, the smallest usual "
            f"one that holds all values ({values.min():g} to {values.max():g})."
        )
    frame[f"mos_{target}"] = normalise(values, nominal, cells, csv_path)
    column = _column_of(cells, csv_path, "std", target)
    if column is not None:
        spread = parse_numbers(cells, csv_path, column, blank_allowed=True)
        frame[f"std_{target}"] = spread / (nominal[1] - nominal[0])
    return nominal


def _column_of(cells: pd.DataFrame, csv_path: Path, kind: str, target: str) -> str | None:
    present = [f"{kind}_{word}" for word in COLUMNS[target] if f"{kind}_{word}" in cells.columns]
    if len(present) > 1:
        raise UserError(f"{csv_path}: {' and '.join(present)} mean the same; keep one column.")
    return present[0] if present else None
