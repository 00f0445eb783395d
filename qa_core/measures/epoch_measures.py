"""Measures of an epoch: those on validation, and how far training lies above validation."""

import numpy as np

from qa_core.errors import UserError
from qa_core.measures import catalogue
from qa_core.measures.catalogue import GAP, SROCC
from qa_core.measures.evaluation import Columns, score_epoch
from qa_core.settings.training import SelectionMetric
from qa_core.targets import TARGETS


def validation_measures(columns: Columns, asked: SelectionMetric) -> dict[str, float]:
    """Measures of the validation part by name, `selection` among them; undefined ones are left out.

    Args:
        columns: Predictions and scores, as for `score_epoch`.
        asked: The measure that chooses the checkpoint.

    Raises:
        UserError: The table lacks the score that it needs.
    """
    scores = score_epoch(columns)[0]
    measures = {
        measure.curve(target): scores[measure.key(target)]
        for target in TARGETS
        for measure in catalogue.by_epoch()
        if measure.key(target) in scores
    }
    return measures | {"selection": _selection(measures, columns, asked)}


def _selection(measures: dict[str, float], columns: Columns, asked: SelectionMetric) -> float:
    """Mean validation SROCC of the targets asked for; a constant prediction counts as 0."""
    rated = {t: np.asarray(columns[t.mos], float) for t in TARGETS if t.mos in columns}
    targets = [target for target, mos in rated.items() if not np.isnan(mos).all()]
    asked_for = [target for target in targets if asked in ("mean_srocc", SROCC.key(target))]
    if not asked_for:
        raise UserError(f"--selection_metric {asked}: the table has no such score.")
    return float(np.mean([measures.get(SROCC.curve(target), 0.0) for target in asked_for]))


def gap_measures(columns: Columns, validation: dict[str, float]) -> dict[str, float]:
    """SROCC on the fixed training subset, and how far it lies above validation, by name."""
    scores = score_epoch(columns)[0]
    measures: dict[str, float] = {}
    for target in TARGETS:
        train, reached = scores.get(SROCC.key(target)), validation.get(SROCC.curve(target))
        if train is not None:
            measures[f"train_srocc_{target}"] = train
        if train is not None and reached is not None:
            measures[GAP.curve(target)] = train - reached
    return measures
