"""Someone else's predictions as one more row, scored on the same test parts as the modes.

Whether that predictor was trained on these images is not known here: the row may flatter it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qa_core.data.path_match import PathMatch
from qa_core.errors import UserError
from qa_core.measures.evaluation import score_reference
from qa_core.records.schema import Reference, Setting
from qa_core.targets import TARGETS
from reports.evidence.ablation import Ablation
from reports.evidence.frames import select
from reports.language import phrase

OFF_SCALE = phrase("the scale of these predictions is not known")


def with_predictions(ablation: Ablation, name: str, file: Path) -> Ablation:
    """The ablation with one more reference row.

    Args:
        ablation: The ablation.
        name: Name of the row.
        file: A CSV with the column `name`, which meets the rated table's by the longest end of the
            path, and `quality` or `consistency` or both, on any scale; or what
            `experiments/predict.py` wrote, with `image`, `q` and `c`.

    Raises:
        UserError: The file cannot be used, or lacks images that the splits test.
    """
    if name in (*Reference, *ablation.mode_names):
        raise UserError(f"PREDICTIONS={name}:{file}: a row of the report is called {name} already.")
    table = _read(file)
    tested = _tested_images(ablation, file)
    rows = [
        {"reference": name, "split": split, **_scores(images, table, file)}
        for split, images in tested.groupby("split")
    ]
    references = pd.concat([ablation.references, pd.DataFrame(rows)], ignore_index=True)
    return replace(ablation, references=references)


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"name": str, "image": str})
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as CSV: {error}.") from None
    if "image" in table and "name" not in table:  # as experiments/predict.py writes it
        table = table.rename(columns={target.prediction: str(target) for target in TARGETS})
        table["name"] = table["image"]
    columns = [target for target in TARGETS if target in table]
    if "name" not in table or not columns:
        raise UserError(
            f"{path} needs a column name and at least one of {' and '.join(TARGETS)}; "
            f"it has {', '.join(map(str, table.columns))}."
        )
    names: Any = table["name"]
    PathMatch(names, str(path))  # a name twice is refused
    for column in columns:
        numbers: Any = pd.to_numeric(table[column], errors="coerce")
        bad = ~np.isfinite(numbers.to_numpy(float))
        if bad.any():
            raise UserError(f"{path}: the {column} of {names[bad].iloc[0]} is not a number.")
        table[column] = numbers
    return table


def _tested_images(ablation: Ablation, file: Path) -> pd.DataFrame:
    """One row a split and test image: split, name, its opinions and its generator."""
    predictions: Any = ablation.predictions
    if predictions.empty:
        raise UserError(f"No finished run says which images were tested, so {file} has no row.")
    own = select(predictions, setting=Setting.GUIDE)
    keep = ["split", "name", "generator", *(target.mos for target in TARGETS)]
    return own.drop_duplicates(["split", "row"]).filter(keep)


def _scores(images: pd.DataFrame, table: pd.DataFrame, file: Path) -> dict[str, Any]:
    """Measures on one test part, and why others are undefined."""
    match = PathMatch(table["name"], str(file))
    rows: list[Any] = [match.row(name) for name in images["name"]]
    lacking = [name for name, row in zip(images["name"], rows, strict=True) if row is None]
    if lacking:
        raise UserError(
            f"{file} lacks {len(lacking)} of {len(images)} images of a test part, "
            f"{lacking[0]} among them; a row over other images could not be compared."
        )
    frame = images.copy()
    for target in (target for target in TARGETS if target in table):
        frame[target.prediction] = table[target].to_numpy(float)[rows]
    metrics, undefined = score_reference(frame, OFF_SCALE)
    found = {f"test_{name}": value for name, value in metrics.items()}
    return found | {"undefined": {f"test_{name}": why for name, why in undefined.items()}}
