"""What several captions say: how many runs stand behind a figure, and what its bars are."""

import pandas as pd

from qa_core.records.schema import Setting
from reports.evidence.ablation import Ablation
from reports.language import say


def count_runs(ablation: Ablation) -> str:
    """Number of runs behind a figure at the guide's setting, in words."""
    cells = ablation.settled(Setting.GUIDE)
    return say(
        "n = {runs} runs ({splits} splits), the guide’s setting",
        runs=str(len(cells)),
        splits=count_splits(cells),
    )


def count_splits(cells: pd.DataFrame) -> str:
    """Number of splits that have a cell."""
    return str(len(set(cells["split"])))


def describe_bar(ablation: Ablation) -> str:
    """What a bar beside a mean is, or why there is none."""
    if ablation.has_one_part:
        return say("no bar, since these splits are no re-splits")
    return say("bar: 95 % interval, unadjusted")
