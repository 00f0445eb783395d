"""From text cells to a rated table: the last step of every reader."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from qa_core.data.findings import RowProblems, clipped
from qa_core.data.frames import column, rows_where
from qa_core.data.groups import group_of
from qa_core.data.rated_table import EXTRA, SPLIT_PARTS, MosRange, RatedTable
from qa_core.data.tables.cells import require_columns
from qa_core.data.tables.columns import missing_columns, near_columns
from qa_core.data.tables.images import locate_images
from qa_core.data.tables.numbers import is_missing, parse_numbers
from qa_core.data.tables.scales import Seen, choose_ranges, normalise
from qa_core.errors import UserError
from qa_core.targets import TARGETS, Target

SPELLINGS = {Target.QUALITY: ("quality",), Target.CONSISTENCY: ("align", "consistency")}
"""How `mos_*` and `std_*` columns may call a target."""

PARTS_BY_NAME = {part: part for part in SPLIT_PARTS} | {
    **{"val": "validation", "valid": "validation"},
    **{"training": "train", "testing": "test"},
}
"""What a cell of the column `part` may hold, in small letters."""

Extremes = Mapping[Target, tuple[float, float]]


def build_table(
    cells: pd.DataFrame,
    path: Path,
    image_dir: Path,
    name: str,
    version: str,
    ranges: Mapping[Target, MosRange | None],
    require_images: bool = True,
    notes: tuple[str, ...] = (),
    extremes: Extremes | None = None,
) -> RatedTable:
    """The rated table of text cells with the columns of `read_csv_table`, one row an image.

    Rows without any rating are left out, which `notes` count; one of two scores may be missing in
    some rows and is NaN there.

    Args:
        cells: Text cells; a column `group` says what a split keeps together where that is not the
            prompt, `file` where an image lies.
        path: Where they come from, for messages.
        image_dir: The folder that names are relative to.
        name: Name of the data set.
        version: Version of its reader.
        ranges: Nominal range by target, None where it is to be chosen.
        require_images: Whether a missing image file is an error.
        notes: What the reader has to say.
        extremes: Lowest and highest single rating by target, where they are known.

    Raises:
        TableError: Rows are wrong; it lists all of them.
        UserError: The table as a whole is.
    """
    require_columns(cells, path, ("name",))
    said = list(notes)
    cells, scores = _rated_rows(cells, path, said)
    prompts = _prompts(cells, path, scores, said)
    problems = RowProblems(path, cells)
    _check_texts(cells, prompts, problems)
    paths, renamed = locate_images(cells, problems, image_dir, require_images)
    frame = _texts_frame(cells, prompts, paths)
    used = _add_scores(frame, cells, problems, scores, ranges, extremes or {}, said)
    _add_optional(frame, cells, problems)
    _add_extra(frame, cells)
    problems.raise_if_any()
    _require_spread(frame, path, scores)
    given = {target: used.get(target) for target in TARGETS}
    return RatedTable(frame, name, version, *given.values(), notes=(*said, *renamed))


def _rated_rows(
    cells: pd.DataFrame, path: Path, notes: list[str]
) -> tuple[pd.DataFrame, dict[Target, str]]:
    """The rows with any rating, and the column of each target that has one."""
    scores = {t: c for t in TARGETS if (c := score_column(cells, path, "mos", t)) is not None}
    if not scores:
        raise UserError(
            f"{missing_columns(cells, path, ['mos_quality', 'mos_align'])} One score is enough."
        )
    missing = {target: is_missing(column(cells, name)) for target, name in scores.items()}
    unrated = pd.concat(list(missing.values()), axis=1).all(axis=1)
    if unrated.all():
        raise UserError(f"{path}: no row has a rating in {' or '.join(scores.values())}.")
    if unrated.any():
        first = int(cells.index[unrated][0]) + 1
        notes.append(f"{unrated.sum()} rows without any rating are left out, the first is {first}.")
    cells = rows_where(cells, ~unrated)
    for target, name in list(scores.items()):
        absent = int(missing[target][~unrated].sum())
        if absent == len(cells):
            del scores[target]
        elif absent:
            notes.append(f"{name} is missing in {absent} of {len(cells)} rows.")
    return cells, scores


def _prompts(
    cells: pd.DataFrame, path: Path, scores: dict[Target, str], notes: list[str]
) -> pd.Series | None:
    """The prompts; None where the table has none and needs none."""
    named = "prompt" in cells.columns
    if named and any(cells["prompt"]):
        return column(cells, "prompt")
    if Target.CONSISTENCY in scores:
        if not named:
            raise UserError(missing_columns(cells, path, ["prompt"]))
        raise UserError(
            f"{path}: column 'prompt' is empty in every row, and {scores[Target.CONSISTENCY]} rates"
            " images by their prompts; fill it, or take the scores out."
        )
    if not named and near_columns(cells, "prompt"):
        raise UserError(
            f"{missing_columns(cells, path, ['prompt'])} Where there are no prompts:"
            " --columns prompt="
        )
    notes.append(
        "The table has no prompts: quality alone is scored, and where prompts are counted or kept"
        " together, each image counts as one."
    )
    return None


def _texts_frame(cells: pd.DataFrame, prompts: pd.Series | None, paths: list[str]) -> pd.DataFrame:
    """Names, files and prompts of the images, and the groups that a split keeps together."""
    if prompts is None:
        prompts, groups = pd.Series("", index=cells.index), cells["name"]
    else:
        groups = (
            cells["group"].where(cells["group"] != "", prompts) if "group" in cells else prompts
        )
        groups = groups.map(group_of)
    columns = {
        "name": cells["name"].to_numpy(),
        "image_path": paths,
        "prompt": prompts.to_numpy(),
        "group": groups.to_numpy(),
    }
    return pd.DataFrame(columns, dtype=str)


def _check_texts(cells: pd.DataFrame, prompts: pd.Series | None, problems: RowProblems) -> None:
    """Note each empty name or prompt, and each image named twice."""
    for word, texts in (("name", cells["name"]), ("prompt", prompts)):
        for place in np.flatnonzero(texts == "").tolist() if texts is not None else []:
            text = f"column {word!r} is empty."
            problems.add(place, f"{word} is empty", text, named=word != "name")
    first_of: dict[str, int] = {}
    for place, name in enumerate(cells["name"]):
        first = first_of.setdefault(name, place)
        if first != place and name:
            problems.add(
                place,
                "images are named twice",
                f"image {clipped(name)} is already in data row {problems.number(first)}; "
                "keep one row an image, with the mean of its ratings.",
                named=False,
            )


def _add_scores(
    frame: pd.DataFrame,
    cells: pd.DataFrame,
    problems: RowProblems,
    scores: Mapping[Target, str],
    ranges: Mapping[Target, MosRange | None],
    extremes: Extremes,
    notes: list[str],
) -> dict[Target, MosRange]:
    """Add each target's MOS and standard deviation to the frame; their nominal ranges."""
    values = {t: parse_numbers(cells, problems, c, True) for t, c in scores.items()}
    named = {target: ranges.get(target) for target in scores}
    if None in named.values():
        problems.raise_if_any()  # a scale chosen from numbers needs all of them
    seen = {
        target: Seen(scores[target], *extremes.get(target, (numbers.min(), numbers.max())))
        for target, numbers in values.items()
    }
    used, said = choose_ranges(seen, named, problems.path)
    notes += said
    for target, numbers in values.items():
        low, high = used[target]
        frame[target.mos] = normalise(numbers, (low, high), problems).to_numpy()
        name = score_column(cells, problems.path, "std", target)
        if name is not None:
            spread = parse_numbers(cells, problems, name, missing_allowed=True)
            frame[f"std_{target}"] = (spread / (high - low)).to_numpy()
    return used


def _add_optional(frame: pd.DataFrame, cells: pd.DataFrame, problems: RowProblems) -> None:
    for name in ("generator", "setting", "explanation"):
        if name in cells.columns and any(cells[name]):
            frame[name] = cells[name].to_numpy()
    if "part" in cells.columns and any(cells["part"]):
        parts = cells["part"].str.casefold().map(PARTS_BY_NAME)
        for place in np.flatnonzero(parts.isna()).tolist():
            text = f"part is {cells['part'].iloc[place]!r}, not one of {', '.join(SPLIT_PARTS)}."
            problems.add(place, "part is none", text)
        frame["part"] = parts.to_numpy()
    if "n_raters" in cells.columns:
        raters = parse_numbers(cells, problems, "n_raters", missing_allowed=True)
        frame["n_raters"] = raters.to_numpy()


def _add_extra(frame: pd.DataFrame, cells: pd.DataFrame) -> None:
    """Add the columns that have no meaning here, and more than one value."""
    read = {"name", "prompt", "group", "file", "generator", "setting", "explanation", "part"}
    read |= {f"{kind}_{word}" for kind in ("mos", "std") for t in TARGETS for word in SPELLINGS[t]}
    for name in cells.columns:
        if name not in read | {"n_raters"} and len(set(cells[name])) > 1:
            frame[EXTRA + name] = cells[name].to_numpy()


def _require_spread(frame: pd.DataFrame, path: Path, scores: Mapping[Target, str]) -> None:
    for target, name in scores.items():
        rated = frame[target.mos].dropna()
        if len(frame) > 1 and len(set(rated)) == 1:
            raise UserError(
                f"{path}: all {len(rated)} values of {name} are equal, so nothing can be ranked;"
                " take the column out, or add ratings that differ."
            )


def score_column(cells: pd.DataFrame, path: Path, kind: str, target: Target) -> str | None:
    """The column of a target's `mos` or `std`, if there is one.

    Raises:
        UserError: There are two.
    """
    present = [f"{kind}_{word}" for word in SPELLINGS[target] if f"{kind}_{word}" in cells.columns]
    if len(present) > 1:
        raise UserError(f"{path}: {' and '.join(present)} mean the same; keep one column.")
    return present[0] if present else None
