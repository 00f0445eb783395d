"""Measures of one run's predictions, by the names of the catalogue."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from qa_core.measures import catalogue
from qa_core.measures.catalogue import Measure, Rated
from qa_core.targets import TARGETS, Target

Scores = dict[str, float]
Reasons = dict[str, str]
Columns = Mapping[str, ArrayLike]


def score_epoch(columns: Columns) -> tuple[Scores, Reasons]:
    """The measures that every epoch logs, fast, and why any is undefined.

    Args:
        columns: Arrays (n,) by the names of the predictions frame. A target is scored where both
            its prediction and its score are there (`q` and `mos_quality`, `c` and
            `mos_consistency`); `q_delta` and `residual_scale_q` where there is a residual.

    Returns:
        Both by the measure's name and target: `srocc_quality`.
    """
    return _score(columns, catalogue.by_epoch())


def score_predictions(frame: pd.DataFrame) -> tuple[Scores, Reasons]:
    """All measures of a test part, and why any is undefined.

    Args:
        frame: Predictions, as for `score_epoch`, with `generator`, `q_base`, `c_base` where there
            are any.
    """
    return _score(_columns(frame), catalogue.of_predictions())


def score_reference(frame: pd.DataFrame, off_scale: str = "") -> tuple[Scores, Reasons]:
    """The measures of a test part for a reference, or for predictions of others.

    Args:
        frame: Predictions, as for `score_predictions`.
        off_scale: Why what needs the scale of the ratings is undefined; empty where predictions
            are on it.
    """
    columns = _columns(frame)
    kept = catalogue.of_references()
    lost = [measure for measure in kept if off_scale and measure.needs_scale]
    scores, reasons = _score(columns, [measure for measure in kept if measure not in lost])
    targets = [target for target in TARGETS if _rated(columns, target)]
    return scores, reasons | {m.key(target): off_scale for target in targets for m in lost}


def _columns(frame: pd.DataFrame) -> Columns:
    return {str(name): frame[name].to_numpy() for name in frame.columns}


def _score(columns: Columns, measures: Iterable[Measure]) -> tuple[Scores, Reasons]:
    scores: Scores = {}
    reasons: Reasons = {}
    for target in TARGETS:
        rated = _rated(columns, target)
        if rated is None:
            continue
        for measure in measures:
            if measure.compute is None:
                continue
            value, reason = measure.compute(rated)
            if value is None:
                reasons[measure.key(target)] = reason or "undefined"
            else:
                scores[measure.key(target)] = value
    return scores, reasons


def _rated(columns: Columns, target: Target) -> Rated | None:
    """A target's columns over the rows with a score; None without any, or without prediction."""
    prediction, mos = _numbers(columns, target.prediction), _numbers(columns, target.mos)
    if prediction is None or mos is None:
        return None
    names = columns.get("generator")
    rated = ~np.isnan(mos)

    def of_rated(name: str) -> NDArray[np.float64] | None:
        values = _numbers(columns, name)
        return values if values is None or values.ndim == 0 else values[rated]

    return Rated(
        prediction[rated],
        mos[rated],
        base=of_rated(target.base),
        delta=of_rated(target.delta),
        scale=of_rated(target.scale),
        generator=None if names is None else np.asarray(names).astype(str)[rated],
    )


def _numbers(columns: Columns, name: str) -> NDArray[np.float64] | None:
    """A column as floats; None where it is absent or, as after joining frames, wholly NaN."""
    if name not in columns:
        return None
    values = np.asarray(columns[name], dtype=np.float64)
    return None if len(values) and np.isnan(values).all() else values
