"""Reader of one's own data: any table with image names, prompts and mean opinion scores."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from qa_core.data.rated_table import MosRange, RatedTable
from qa_core.data.tables.build import build_table, score_column
from qa_core.data.tables.cells import read_cells, require_columns
from qa_core.data.tables.columns import known_columns, near_columns, prefix_of
from qa_core.data.tables.images import find_own_images
from qa_core.data.tables.ratings import aggregate_ratings
from qa_core.targets import TARGETS

READER_VERSION = "1"
TABLE_NAME, IMAGE_FOLDER = "data.csv", "images"

_GENERATORS, _IMAGES_OF_ONE = range(2, 51), 3
"""Numbers of generators that file names may suggest, and the fewest images of each."""


def read_csv_table(
    csv_path: Path,
    image_dir: Path,
    range_quality: MosRange | None = None,
    range_consistency: MosRange | None = None,
    explanation_column: str = "explanation",
    require_images: bool = True,
    columns: Mapping[str, str] | None = None,
) -> RatedTable:
    """Read a table with columns name, prompt, mos_quality and mos_align (one may be absent).

    `mos_consistency` is another name of `mos_align`. Optional: generator, setting, explanation,
    std_quality, std_align (or std_consistency), n_raters, and part (train, validation, test) for
    the protocol `official`. Without prompts there is quality alone. Single ratings, one a row or
    one a column, are averaged (see `aggregate_ratings`).

    Args:
        csv_path: The table, of any kind that `read_cells` knows.
        image_dir: The folder that names are relative to, or the one above it.
        range_quality: Nominal range of the quality scores; without it, the smallest usual one that
            holds all values of both scores, said in `notes`.
        range_consistency: The same for consistency.
        explanation_column: The column that says the faults in words.
        require_images: Whether a missing image file is an error.
        columns: The table's names of columns by ours, where they differ.

    Raises:
        UserError: At the first thing that is wrong, with file, row and column.
    """
    cells = known_columns(read_cells(csv_path), csv_path, columns or {})
    require_columns(cells, csv_path, ("name",))
    if explanation_column in cells.columns:
        cells["explanation"] = cells[explanation_column]
    elif explanation_column != "explanation":
        require_columns(cells, csv_path, (explanation_column,))
    rated = aggregate_ratings(cells, csv_path)
    if require_images and "file" not in rated.cells.columns:
        image_dir = find_own_images(image_dir, rated.cells["name"].tolist())
    name = csv_path.absolute().parent.name if csv_path.stem == "data" else csv_path.stem
    ranges = dict(zip(TARGETS, (range_quality, range_consistency), strict=True))
    scores = {t: score_column(rated.cells, csv_path, "mos", t) for t in TARGETS}
    extremes = {t: rated.extremes[c] for t, c in scores.items() if c in rated.extremes}
    hint = _generator_hint(rated.cells)
    notes = (*rated.notes, hint) if hint else tuple(rated.notes)
    return build_table(
        rated.cells,
        csv_path,
        image_dir,
        name,
        READER_VERSION,
        ranges,
        require_images,
        notes,
        extremes,
    )


def read_csv_folder(
    root: Path,
    image_dir: Path | None = None,
    require_images: bool = True,
    range_quality: MosRange | None = None,
    range_consistency: MosRange | None = None,
    explanation_column: str = "explanation",
    columns: Mapping[str, str] | None = None,
) -> RatedTable:
    """Read `data.csv` of a folder, whose images lie in `images` or beside the table.

    Args:
        root: The folder.
        image_dir: Another folder of the images.
        require_images: Whether a missing image file is an error.
        range_quality: Nominal range of the quality scores, as of `read_csv_table`.
        range_consistency: The same for consistency.
        explanation_column: The column that says the faults in words.
        columns: The table's names of columns by ours, where they differ.

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
        columns,
    )


def _generator_hint(cells: pd.DataFrame) -> str | None:
    """A sentence on a column, or on beginnings of file names, that may name generators."""
    if "generator" in cells.columns or "prompt" not in cells.columns:
        return None
    near = near_columns(cells, "generator")
    if near:
        return (
            f"The column {near[0]!r} may name generators: --columns generator={near[0]} (COLUMNS=)"
            " gives scores within them."
        )
    prefixes = cells["name"].map(prefix_of)
    counts = {str(word): int(count) for word, count in prefixes.value_counts().items()}
    across = len({*zip(cells["prompt"], prefixes, strict=True)}) > len({*cells["prompt"]})
    plausible = len(counts) in _GENERATORS and min(counts.values()) >= _IMAGES_OF_ONE and across
    if not plausible or any(prefix.isdigit() for prefix in counts):
        return None
    names = ", ".join(sorted(counts)[:6]) + (" …" if len(counts) > 6 else "")
    return (
        f"File names begin with {len(counts)} words that may be generators ({names}): --columns"
        " generator=name (COLUMNS=) takes them for scores within generators."
    )
