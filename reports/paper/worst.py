"""The test images with the largest errors, with their pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qa_core.records.schema import Setting
from reports.evidence.ablation import Ablation
from reports.evidence.frames import select
from reports.figures.style import format_score, label
from reports.language import say
from reports.text.page_text import LONGEST_PROMPT, page_text

WORST_IMAGES = 10


def worst_cases(ablation: Ablation) -> list[dict[str, Any]]:
    """Test images with the largest error of any mode that left a thumbnail, largest first."""
    table = ablation.predictions
    if table.empty or not ablation.thumbnails:
        return []
    pictured = pd.DataFrame(list(ablation.thumbnails), columns=["run_id", "row"])
    shown = select(table, setting=Setting.GUIDE).merge(pictured, on=["run_id", "row"])
    parts = [(t, t.mos, t.prediction) for t in ablation.targets]
    errors = pd.DataFrame({t: (shown[p] - shown[mos]).abs() for t, mos, p in parts
                           if {mos, p} <= set(shown.columns)})  # fmt: skip
    if errors.empty:
        return []
    shown = shown.assign(error=errors.max(axis=1)).dropna(subset=["error"])
    shown = shown.sort_values(
        ["error", "row", "mode", "split"], ascending=[False, True, True, True]
    )
    chosen = shown.drop_duplicates("row").head(WORST_IMAGES)
    return [_worst_case(case, parts, ablation.thumbnails) for case in chosen.to_dict("records")]


def _worst_case(
    case: dict[Any, Any], parts: Sequence[tuple[str, str, str]],
    thumbnails: dict[tuple[str, int], Path],
) -> dict[str, Any]:  # fmt: skip
    scores = [
        say(
            "{target}: {mos} by people, {predicted} predicted",
            target=target,
            mos=format_score(case[mos]),
            predicted=format_score(case[part]),
        )
        for target, mos, part in parts
        if np.isfinite(case.get(mos, np.nan)) and np.isfinite(case.get(part, np.nan))
    ]
    return {
        "source": str(thumbnails[case["run_id"], case["row"]]),
        "prompt": page_text(case["prompt"], LONGEST_PROMPT),
        "scores": scores,
        "by": say("{mode}, split {split}", mode=label(case["mode"]), split=str(case["split"])),
    }
