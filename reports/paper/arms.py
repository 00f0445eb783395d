"""The section on further arms: what it says, its tables on the page and as CSV."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from qa_core.measures.catalogue import RETENTION
from reports.evidence.ablation import Ablation
from reports.figures.style import format_score, label
from reports.language import say
from reports.paper.tables import NONE, Cell, cost_table, long_table, main_table
from reports.text.missing import lacking_measures
from reports.verdicts.arms import Gain, arm_column, arm_gains, difference, modified_mode


def arm_content(
    ablation: Ablation, results: dict[str, Any], figures: Sequence[dict[str, str]]
) -> dict[str, Any]:
    """What the section on arms shows; nothing where there are none."""
    arms = ablation.arms
    if arms is None:
        return {"arms": None}
    guide, words = results["guide_arms"], arm_column(ablation, "words")
    gains = arm_gains(ablation)
    return {
        "arms": {
            "note": say(
                "Each arm is a mode with one thing changed, tuned and confirmed as the modes are. "
                "No claim rests on an arm. Differences are from the mode that it modifies, both at "
                "their own values, paired by split: the mean, the interval adjusted "
                "with Holm’s p over the family of all {n} comparisons here, and that p. Retention "
                "has none: it is described only.",
                n=str(len(gains)),
            ),
            "words": [[label(arm), say(text)] for arm, text in words.items()],
            "header": _comparison_header(ablation),
            "rows": [_comparison_row(ablation, arm, gains) for arm in arms.mode_names],
            "main": [
                {
                    "caption": say("Test scores of the further arms for {target}.", target=target),
                    "groups": main_table(arms, target, guide, results["arms"], {}),
                }
                for target in ablation.targets
            ],
            "cost": cost_table(guide),
            "cost_caption": say("Alignment and cost of the further arms."),
            "figures": list(figures),
            "missing": lacking_measures(guide),
        }
    }


def _comparison_header(ablation: Ablation) -> list[str]:
    scores = [say("SROCC, {target}", target=target) for target in ablation.targets]
    return [say("arm"), say("modifies"), *scores, say("retention")]


def _comparison_row(ablation: Ablation, arm: str, gains: Sequence[Gain]) -> dict[str, Any]:
    of = modified_mode(ablation, arm)
    cells: list[Cell] = [{"value": label(of), "interval": ""}]
    for target in ablation.targets:
        own = [gain for gain in gains if (gain.arm, gain.target) == (arm, target)]
        cells.append(_gain_cell(own[0]) if own else {"value": NONE, "interval": ""})
    kept = difference(ablation, arm, RETENTION.logged())
    text = signed(float(kept.mean())) if len(kept) else NONE
    return {"name": label(arm), "cells": [*cells, {"value": text, "interval": ""}]}


def _gain_cell(gain: Gain) -> Cell:
    low, high = gain.adjusted.low, gain.adjusted.high
    bounds = ""
    if low is not None and high is not None and gain.p is not None:
        bounds = f"{signed(low)} – {signed(high)}; p {format_score(gain.p)}"
    return {"value": signed(gain.interval.mean), "interval": bounds}


def signed(value: float) -> str:
    """A difference with its sign: +.012, −.003."""
    text = format_score(value)
    return text if text.startswith("−") else f"+{text}"


def write_arm_tables(folder: Path, ablation: Ablation, results: dict[str, Any]) -> None:
    """Write the arms as CSV, in English; nothing where there are none."""
    if ablation.arms is None:
        return
    frames = {
        "arms_guide": long_table(results["guide_arms"]),
        "arms_tuned": long_table(results["arms"]),
        "arm_comparisons": pd.json_normalize(results["arm_comparisons"]["guide"]),
        "arm_cells": ablation.arms.cells.drop(columns=["params", "undefined", "artifact_uri"]),
        "wise_ft_line": ablation.arms.lines,
    }
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
