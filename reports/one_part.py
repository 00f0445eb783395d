"""Scores of protocols whose test images are few parts, read whole: a bootstrap over prompts.

`official` and `cross` have one test part, on which every draw of the validation part tests a model;
`leave_one_generator_out` tests each generator on its out-of-fold images. A score is the mean over
those draws, or generators, of the score within each; re-splits that could spread are not there.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qa_core.metrics import plcc, srocc
from reports.frames import kept_together
from reports.statistics import Interval, prompt_bootstrap

RESAMPLES = 500
STATISTICS: dict[str, Callable[..., float | None]] = {"srocc": srocc, "plcc": plcc}
LETTERS = {"quality": "q", "consistency": "c"}


def part_intervals(predictions: pd.DataFrame, protocol: str) -> dict[str, Interval]:
    """`srocc_T` and `plcc_T` of one model for each target T it has, with their intervals.

    Args:
        predictions: One row a test image and split: prompt, group, split, generator, scores, MOS.
        protocol: Its name.
    """
    unit = "generator" if protocol == "leave_one_generator_out" else "split"
    found: dict[str, Interval] = {}
    for target, letter in LETTERS.items():
        if not {letter, f"mos_{target}"} <= set(predictions.columns):
            continue
        rows = predictions.dropna(subset=[letter, f"mos_{target}"])
        for name, statistic in STATISTICS.items():
            interval = _interval(rows, unit, letter, f"mos_{target}", statistic)
            if interval is not None:
                found[f"{name}_{target}"] = interval
    return found


def _interval(
    rows: pd.DataFrame,
    unit: str,
    letter: str,
    mos: str,
    statistic: Callable[..., float | None],
) -> Interval | None:
    units = pd.factorize(rows[unit])[0]
    predicted, opinion = rows[letter].to_numpy(float), rows[mos].to_numpy(float)

    def mean_within(chosen: NDArray[np.intp]) -> float:
        parts = (chosen[units[chosen] == unit] for unit in range(units.max() + 1))
        values = [statistic(predicted[part], opinion[part]) for part in parts]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else float("nan")

    if not len(rows) or not np.isfinite(mean_within(np.arange(len(rows)))):
        return None
    return prompt_bootstrap(kept_together(rows), mean_within, n_resamples=RESAMPLES)
