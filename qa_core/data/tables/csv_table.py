"""Reader of one's own data: any CSV with image names, prompts and mean opinion scores."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from qa_core.data.rated_table import SPLIT_PARTS, MosRange, RatedTable
from qa_core.data.tables.cells import (
    RowProblems,
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
TABLE_NAME, IMAGE_FOLDER = "data.csv", "images"

COLUMNS = {"quality": ("quality",), "consistency": ("align", "consistency")}
"""Target, and how `mos_*` and `std_*` columns may call it."""


def read_csv_table(
    csv_path: Path,
    image_dir: Path,
    range_quality: MosRange | None = None,
    range_consistency: MosRange | None = None,
    explanation_column: str = "explanation",
    require_images: bool = True,
) -> RatedTable:
    """Read a table with columns name, prompt, mos_quality and mos_align (one may be absent).

    `mos_consistency` is another name of `mos_align`. Optional: generator, setting, explanation,
    std_quality, std_align (or std_consistency), n_raters, and part (train, validation, test) for
    the protocol `official`.

    Args:
        csv_path: The table; comma, semicolon or tab, UTF-8; or .xlsx.
        image_dir: The folder that names are relative to.
        range_quality: Nominal range of the quality scores; without it, the smallest usual one that
            holds all values, said in `notes`.
        range_consistency: The same for consistency.
        explanation_column: The column that says the faults in words.
        require_images: Whether a missing image file is an error.

    Raises:
        UserError: At the first thing that is wrong, with file, row and column.
    """
    cells = read_cells(csv_path)
    if explanation_column in cells.columns:
        cells["explanation"] = cells[explanation_column]
    elif explanation_column != "explanation":
        require_columns(cells, csv_path, (explanation_column,))
    name = csv_path.absolute().parent.name if csv_path.stem == "data" else csv_path.stem
    ranges = {"quality": range_quality, "consistency": range_consistency}
    return build_table(cells, csv_path, image_dir, name, READER_VERSION, ranges, require_images)


def read_csv_folder(
    root: Path,
    image_dir: Path | None = None,
    require_images: bool = True,
    range_quality: MosRange | None = None,
    range_consistency: MosRange | None = None,
    explanation_column: str = "explanation",
) -> RatedTable:
    """Read `data.csv` of a folder, whose images lie in `images` or beside the table.

    Args:
        root: The folder.
        image_dir: Another folder of the images.
        require_images: Whether a missing image file is an error.
        range_quality: Nominal range of the quality scores, as of `read_csv_table`.
        range_consistency: The same for consistency.
        explanation_column: The column that says the faults in words.

    Raises:
        UserError: At what is wrong, with file, row and column.
    """
    if image_dir is None:
        image_dir = root / IMAGE_FOLDER if (root / IMAGE_FOLDER).is_dir() else root
    return read_csv_table(
        root / TABLE_NAME,
        image_dir,
        range_quality,
        range_consistency,
        explanation_column,
        require_images,
    )


def build_table(
    cells: pd.DataFrame,
    path: Path,
    image_dir: Path,
    name: str,
    version: str,
    ranges: Mapping[str, MosRange | None],
    require_images: bool = True,
    notes: tuple[str, ...] = (),
) -> RatedTable:
    """The rated table of text cells with the columns of `read_csv_table`.

    Args:
        cells: Text cells, one row an image; a column `group` says what a split keeps together
            where that is not the prompt, `file` where an image lies.
        path: Where they come from, for messages.
        image_dir: The folder that names are relative to.
        name: Name of the data set.
        version: Version of its reader.
        ranges: Nominal range by target, None where it is to be chosen.
        require_images: Whether a missing image file is an error.
        notes: What the reader has to say.

    Raises:
        TableError: Rows are wrong; it lists all of them.
        UserError: The table as a whole is.
    """
    require_columns(cells, path, ("name", "prompt"))
    columns = {target: _column_of(cells, path, "mos", target) for target in COLUMNS}
    if not any(columns.values()):
        raise UserError(f"{path}: columns 'mos_quality' and 'mos_align' are both missing.")
    problems, said = RowProblems(path, cells["name"]), list(notes)
    check_texts(cells, problems)
    groups = cells["group"] if "group" in cells.columns else cells["prompt"]
    frame = pd.DataFrame(
        {
            "name": cells["name"],
            "image_path": locate_images(cells, problems, image_dir, require_images),
            "prompt": cells["prompt"],
            "group": groups.map(group_of),
        }
    )
    used = {
        target: _add_scores(frame, cells, problems, target, column, ranges[target], said)
        for target, column in columns.items()
    }
    _add_optional(frame, cells, problems)
    problems.raise_if_any()
    for target, column in columns.items():
        if column is not None and len(frame) > 1 == len(set(frame[f"mos_{target}"])):
            raise UserError(
                f"{path}: all {len(frame)} values of {column} are equal, so nothing can be ranked;"
                " take the column out, or add ratings that differ."
            )
    return RatedTable(frame, name, version, used["quality"], used["consistency"], tuple(said))


def _add_scores(
    frame: pd.DataFrame,
    cells: pd.DataFrame,
    problems: RowProblems,
    target: str,
    column: str | None,
    nominal: MosRange | None,
    notes: list[str],
) -> MosRange | None:
    """Add a target's MOS and standard deviation to the frame; its range, None without scores."""
    if column is None:
        return None
    values = parse_numbers(cells, problems, column)
    if nominal is None:
        problems.raise_if_any()  # a scale chosen from numbers needs all of them
        nominal = choose_range(values, problems.path, column)
        notes.append(
            f"{column} is read on the scale {nominal[0]:g} to {nominal[1]:g}, the smallest usual "
            f"one that holds all values ({values.min():g} to {values.max():g})."
        )
    frame[f"mos_{target}"] = normalise(values, nominal, problems)
    column = _column_of(cells, problems.path, "std", target)
    if column is not None:
        spread = parse_numbers(cells, problems, column, blank_allowed=True)
        frame[f"std_{target}"] = spread / (nominal[1] - nominal[0])
    return nominal


def _add_optional(frame: pd.DataFrame, cells: pd.DataFrame, problems: RowProblems) -> None:
    for column in ("generator", "setting", "explanation", "part"):
        if column in cells.columns and any(cells[column]):
            frame[column] = cells[column]
    if "part" in frame.columns:
        for row in np.flatnonzero(~frame["part"].isin(SPLIT_PARTS)).tolist():
            known = ", ".join(SPLIT_PARTS)
            problems.add(row, f"part is {frame['part'][row]!r}, not one of {known}.")
    if "n_raters" in cells.columns:
        frame["n_raters"] = parse_numbers(cells, problems, "n_raters", blank_allowed=True)


def _column_of(cells: pd.DataFrame, path: Path, kind: str, target: str) -> str | None:
    present = [f"{kind}_{word}" for word in COLUMNS[target] if f"{kind}_{word}" in cells.columns]
    if len(present) > 1:
        raise UserError(f"{path}: {' and '.join(present)} mean the same; keep one column.")
    return present[0] if present else None
