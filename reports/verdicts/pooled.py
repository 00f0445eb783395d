"""The pooled out-of-fold SROCC of k-fold protocols, with a bootstrap over prompts: descriptive."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qa_core.measures.catalogue import SROCC
from qa_core.measures.metrics import MIN_ROWS
from qa_core.records.schema import Param, Setting
from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.evidence.frames import kept_together, select
from reports.statistics import prompt_bootstrap, srocc_of_columns
from reports.verdicts.measured import Entry
from reports.verdicts.results import as_entry, not_applicable

RESAMPLES = 500


def pooled_entries(ablation: Ablation) -> dict[str, dict[str, Entry]]:
    """`<mode>.srocc_<target>` over the folds of one repeat taken together, averaged over repeats.

    Predictions of different folds come from different models, so pooling them mixes their
    offsets into the ranks; it stands beside the figure taken inside folds, never for it. Empty
    for protocols whose test parts are not folds.
    """
    if ablation.params.get(Param.PROTOCOL) != "grouped_kfold" or ablation.predictions.empty:
        return {}
    table = select(ablation.predictions, setting=Setting.GUIDE)
    return {
        mode: {
            SROCC.key(target): _pooled(select(table, mode=mode), target)
            for target in ablation.targets
        }
        for mode in ablation.mode_names
    }


def _pooled(predictions: pd.DataFrame, target: str) -> Entry:
    """Mean over repeats of the SROCC over the images that every repeat tested."""
    part, mos = Target(target).prediction, Target(target).mos
    if not {part, mos} <= set(predictions.columns):
        return not_applicable("no predictions were logged")
    own = predictions.dropna(subset=[part, mos]).sort_values("split", kind="stable")
    if own.empty:
        return not_applicable("no predictions were logged")
    repeats = own.assign(repeat=own.groupby("row").cumcount())
    wide = repeats.pivot_table(index="row", columns="repeat", values=part).dropna()
    first = own.drop_duplicates("row").set_index("row").loc[wide.index]
    together = np.column_stack([first[mos].to_numpy(float), wide.to_numpy(float)])

    def statistic(rows: NDArray[np.intp]) -> float:
        return _mean_srocc(together[rows])

    interval = prompt_bootstrap(kept_together(first), statistic, n_resamples=RESAMPLES)
    if not np.isfinite(interval.mean):
        return not_applicable("the pooled rank correlation is undefined")
    return as_entry(interval) | {"descriptive": True}


def _mean_srocc(columns: NDArray[np.float64]) -> float:
    """Mean SROCC of columns 1 and on with column 0; NaN where one is undefined."""
    if len(columns) < MIN_ROWS:
        return float("nan")
    return float(np.mean(srocc_of_columns(columns)))
