"""Scores of protocols whose test images are few parts, read whole: a bootstrap over prompts.

`official` and `cross` have one test part, on which every draw of the validation part tests a model;
`leave_one_generator_out` tests each generator on its out-of-fold images. A score is the mean over
those draws, or generators, of the score within each; re-splits that could spread are not there.
"""

from collections.abc import Callable
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qa_core.measures.catalogue import PLCC, SROCC
from qa_core.measures.metrics import MIN_ROWS, plcc, srocc
from qa_core.records.schema import Param, Setting
from qa_core.targets import TARGETS, Target
from reports.evidence.frames import kept_together, select
from reports.statistics import (
    FloatArray,
    Interval,
    percentile_interval,
    prompt_bootstrap,
    prompt_resamples,
    srocc_of_columns,
)

if TYPE_CHECKING:
    from reports.evidence.ablation import Ablation

RESAMPLES = 500
STATISTICS: dict[str, Callable[..., float | None]] = {SROCC.name: srocc, PLCC.name: plcc}


def part_intervals(predictions: pd.DataFrame, protocol: str) -> dict[str, Interval]:
    """`srocc_T` and `plcc_T` of one model for each target T it has, with their intervals.

    Args:
        predictions: One row a test image and split: prompt, group, split, generator, scores, MOS.
        protocol: Its name.
    """
    found: dict[str, Interval] = {}
    predictions = predictions.assign(unit=_units(predictions, protocol))
    for target in TARGETS:
        if not {target.prediction, target.mos} <= set(predictions.columns):
            continue
        rows = predictions.dropna(subset=[target.prediction, target.mos])
        for name, statistic in STATISTICS.items():
            interval = _interval(rows, target, statistic)
            if interval is not None:
                found[f"{name}_{target}"] = interval
    return found


def _interval(
    rows: pd.DataFrame, target: Target, statistic: Callable[..., float | None]
) -> Interval | None:
    units = pd.factorize(rows["unit"])[0]
    predicted, opinion = (rows[name].to_numpy(float) for name in (target.prediction, target.mos))

    def mean_within(chosen: NDArray[np.intp]) -> float:
        parts = (chosen[units[chosen] == unit] for unit in range(units.max() + 1))
        values = [statistic(predicted[part], opinion[part]) for part in parts]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else float("nan")

    if not len(rows) or not np.isfinite(mean_within(np.arange(len(rows)))):
        return None
    return prompt_bootstrap(kept_together(rows), mean_within, n_resamples=RESAMPLES)


def _units(predictions: pd.DataFrame, protocol: str) -> pd.Series:
    """What is scored by itself: one seed's predictions for a draw, or for a generator."""
    column = "generator" if protocol == "leave_one_generator_out" else "split"
    units: Any = predictions[column].astype(str) + ", seed " + predictions["seed"].astype(str)
    return units


def lifts_on_parts(ablation: "Ablation") -> dict[tuple[str, str, str], Interval]:
    """Test SROCC of one mode minus another's by (target, first, second), guide's setting.

    One bootstrap over prompts serves all pairs, so what is hard in a resample is hard for both.
    """
    found: dict[tuple[str, str, str], Interval] = {}
    for target in TARGETS:
        wide = _by_mode(ablation, target)
        if wide is None:
            continue
        modes = list(wide.columns.drop(["together", "unit", "mos"]))
        units = pd.factorize(wide["unit"])[0]
        scores = wide[["mos", *modes]].to_numpy(float)
        together = list(wide["together"])
        whole = _within_units(scores, units)
        draws = np.array(
            [_within_units(scores[r], units[r]) for r in prompt_resamples(together, RESAMPLES)]
        ).reshape(-1, len(modes))
        for i, j in permutations(range(len(modes)), 2):
            found[target, modes[i], modes[j]] = percentile_interval(
                float(whole[i] - whole[j]), list(draws[:, i] - draws[:, j]), len(set(together))
            )
    return found


def _by_mode(ablation: "Ablation", target: Target) -> pd.DataFrame | None:
    """One row a test image and split: together, unit, mos and each mode's prediction."""
    table, score, mos = ablation.predictions, target.prediction, target.mos
    if not {score, mos} <= set(table.columns):
        return None
    own = select(table, setting=Setting.GUIDE).dropna(subset=[score, mos])
    own = own.assign(
        unit=_units(own, ablation.params[Param.PROTOCOL]), mos=own[mos], together=kept_together(own)
    )
    index = ["split", "row", "together", "unit", "mos"]
    wide = own.pivot_table(index=index, columns="mode", values=score).dropna().reset_index()
    order = [mode for mode in ablation.mode_names if mode in wide]
    return (
        wide.filter(["together", "unit", "mos", *order]) if len(wide) and len(order) > 1 else None
    )


def _within_units(scores: FloatArray, units: NDArray[np.intp]) -> FloatArray:
    """Mean over units of the SROCC of columns 1 and on with column 0, (n_modes,)."""
    parts = [scores[units == unit] for unit in np.unique(units)]
    found = [srocc_of_columns(part) for part in parts if len(part) >= MIN_ROWS]
    kept = np.array(found, dtype=np.float64).reshape(-1, scores.shape[1] - 1)
    known = kept[np.isfinite(kept).all(axis=1)]
    return known.mean(axis=0) if len(known) else np.full(scores.shape[1] - 1, np.nan)
