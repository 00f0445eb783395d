"""Measures of one run's predictions, by the names under which they are logged."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from qa_core.measures import metrics
from qa_core.targets import TARGETS, Target

Scores = dict[str, float]
Reasons = dict[str, str]
Columns = Mapping[str, ArrayLike]

NO_DELTA = "direct prediction has no bounded correction"
NO_BASE = "direct prediction has no base"
NO_GENERATOR = "the table names no generator"


def score_epoch(columns: Columns) -> tuple[Scores, Reasons]:
    """The measures that every epoch needs, fast, and why any is undefined.

    Args:
        columns: Arrays (n,) by the names of the predictions frame. A target is scored where both
            its prediction and its score are there (`q` and `mos_quality`, `c` and
            `mos_consistency`); `q_delta` and `residual_scale_q` where there is a residual.

    Returns:
        `srocc_T`, `plcc_T`, `delta_saturation_T`, `delta_small_T`, `clamped_T` for each target T.
    """
    return _score(columns, (_agreement, _correction))


def score_predictions(frame: pd.DataFrame) -> tuple[Scores, Reasons]:
    """All measures of a test part, and why any is undefined.

    Args:
        frame: Predictions, as for `score_epoch`, with `generator`, `q_base`, `c_base` where there
            are any.

    Returns:
        Those of `score_epoch`, and `plcc_fitted_T`, `krocc_T`, `rmse_T`,
        `within_generator_srocc_T` and `base_srocc_T`.
    """
    columns = {str(name): frame[name].to_numpy() for name in frame.columns}
    return _score(columns, (_agreement, _correction, _agreement_in_detail))


Measure = Callable[
    [Columns, Target, NDArray[np.float64], NDArray[np.float64], Scores, Reasons], None
]


def _score(columns: Columns, measures: tuple[Measure, ...]) -> tuple[Scores, Reasons]:
    scores: Scores = {}
    reasons: Reasons = {}
    for target in TARGETS:
        prediction, mos = _numbers(columns, target.prediction), _numbers(columns, target.mos)
        if prediction is None or mos is None:
            continue
        for measure in measures:
            measure(columns, target, prediction, mos, scores, reasons)
    return scores, reasons


def _agreement(
    columns: Columns,
    target: Target,
    prediction: NDArray[np.float64],
    mos: NDArray[np.float64],
    scores: Scores,
    reasons: Reasons,
) -> None:
    reason = metrics.undefined_reason(prediction, mos)
    for name, function in (("srocc", metrics.srocc), ("plcc", metrics.plcc)):
        _note(f"{name}_{target}", function(prediction, mos), reason, scores, reasons)
    _note(f"clamped_{target}", metrics.clamped_share(prediction), "no rows", scores, reasons)


def _correction(
    columns: Columns,
    target: Target,
    prediction: NDArray[np.float64],
    mos: NDArray[np.float64],
    scores: Scores,
    reasons: Reasons,
) -> None:
    delta, scale = _numbers(columns, target.delta), _numbers(columns, target.scale)
    saturation = None if delta is None else metrics.delta_saturation(delta)
    small = None
    if delta is not None and scale is not None:
        small = metrics.small_correction_share(delta, scale)
    _note(f"delta_saturation_{target}", saturation, NO_DELTA, scores, reasons)
    _note(f"delta_small_{target}", small, NO_DELTA, scores, reasons)


def _agreement_in_detail(
    columns: Columns,
    target: Target,
    prediction: NDArray[np.float64],
    mos: NDArray[np.float64],
    scores: Scores,
    reasons: Reasons,
) -> None:
    reason = metrics.undefined_reason(prediction, mos)
    fitted, remark = metrics.plcc_fitted(prediction, mos)
    _note(f"plcc_fitted_{target}", fitted, remark, scores, reasons)
    _note(f"krocc_{target}", metrics.krocc(prediction, mos), reason, scores, reasons)
    _note(f"rmse_{target}", metrics.rmse(prediction, mos), "no finite rows", scores, reasons)

    within, reason = None, NO_GENERATOR
    if "generator" in columns:
        names = np.asarray(columns["generator"]).astype(str)
        within = metrics.within_group_srocc(prediction, mos, names)
        reason = "no generator has 3 rows of different values"
    _note(f"within_generator_srocc_{target}", within, reason, scores, reasons)

    base, value, reason = _numbers(columns, target.base), None, NO_BASE
    if base is not None:
        value, reason = metrics.srocc(base, mos), metrics.undefined_reason(base, mos)
    _note(f"base_srocc_{target}", value, reason, scores, reasons)


def _note(
    name: str, value: float | None, reason: str | None, scores: Scores, reasons: Reasons
) -> None:
    """File a value among the scores or, where it is undefined, its reason."""
    if value is None:
        reasons[name] = reason or "undefined"
    else:
        scores[name] = value


def _numbers(columns: Columns, name: str) -> NDArray[np.float64] | None:
    """A column as floats; None where it is absent or, as after joining frames, wholly NaN."""
    if name not in columns:
        return None
    values = np.asarray(columns[name], dtype=np.float64)
    return None if len(values) and np.isnan(values).all() else values
