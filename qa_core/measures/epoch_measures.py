"""What an epoch is judged by: measures on validation, and the gap of training to it."""

import numpy as np

from qa_core.config import SelectionMetric
from qa_core.errors import UserError
from qa_core.measures.evaluation import Columns, score_epoch
from qa_core.targets import TARGETS


def validation_measures(columns: Columns, asked: SelectionMetric) -> dict[str, float]:
    """Measures of the validation part by name, `selection` among them; undefined ones are left out.

    Args:
        columns: Predictions and scores, as for `score_epoch`.
        asked: The measure that chooses the checkpoint.

    Raises:
        UserError: The table has not the score that it needs.
    """
    measures = {
        f"val_{name}" if "srocc" in name or "plcc" in name else name: value
        for name, value in score_epoch(columns)[0].items()
    }
    return measures | {"selection": _selection(measures, columns, asked)}


def _selection(measures: dict[str, float], columns: Columns, asked: SelectionMetric) -> float:
    """Mean validation SROCC of the targets asked for; a constant prediction counts as 0."""
    targets = [target for target in TARGETS if target.mos in columns]
    names = [target for target in targets if asked in ("mean_srocc", f"srocc_{target}")]
    if not names:
        raise UserError(f"--selection_metric {asked}: the table has no such score.")
    return float(np.mean([measures.get(f"val_srocc_{name}", 0.0) for name in names]))


def gap_measures(columns: Columns, validation: dict[str, float]) -> dict[str, float]:
    """SROCC on the fixed training subset, and how far it lies above validation, by name."""
    scores = score_epoch(columns)[0]
    measures: dict[str, float] = {}
    for target in TARGETS:
        train, reached = scores.get(f"srocc_{target}"), validation.get(f"val_srocc_{target}")
        if train is not None:
            measures[f"train_srocc_{target}"] = train
        if train is not None and reached is not None:
            measures[f"train_val_gap_{target}"] = train - reached
    return measures
