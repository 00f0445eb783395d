"""Further arms beside the four modes: what each earns over the mode that it modifies.

The guide's claims are about the modes; arms have a Holm family of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.evidence.load import Ablation
from reports.figures.style import format_score, label
from reports.language import say
from reports.paper.tables import NONE, Cell, cost_table, long_table, main_table
from reports.statistics import Interval, holm, holm_levels, nadeau_bengio_interval
from reports.text.missing import lacking_measures
from reports.verdicts.decide import ALPHA
from reports.verdicts.results import Entry, as_entry, mode_entries


@dataclass(frozen=True)
class Gain:
    """Test SROCC of an arm minus that of its mode, both at their own values, paired by split.

    Attributes:
        arm: The arm.
        of: The mode that it modifies.
        target: The target.
        interval: Mean and 95 % interval, unadjusted.
        p: Adjusted by Holm over all arms and targets; None with a single split.
        adjusted: The interval adjusted with it.
    """

    arm: str
    of: str
    target: str
    interval: Interval
    p: float | None
    adjusted: Interval


def modified_mode(ablation: Ablation, arm: str) -> str:
    """The mode that an arm modifies."""
    return str(arm_column(ablation, "arm_of")[arm])


def arm_column(ablation: Ablation, column: str) -> dict[str, str]:
    """What the runs of the arms say of themselves, by arm."""
    if ablation.arms is None:
        return {}
    return dict(zip(ablation.arms.modes["mode"], ablation.arms.modes[column], strict=True))


def difference(ablation: Ablation, arm: str, measure: str, setting: str = "guide") -> pd.Series:
    """A measure of an arm minus that of its mode, by the splits that both have."""
    assert ablation.arms is not None
    own = ablation.arms.by_split(arm, measure, setting)
    other = ablation.by_split(modified_mode(ablation, arm), measure, setting)
    both = own.index.intersection(other.index)
    return own.loc[both] - other.loc[both]


def arm_gains(ablation: Ablation, setting: str = "guide") -> list[Gain]:
    """Gains of all arms on all targets; none where the protocol decides nothing."""
    if ablation.arms is None or not ablation.decides:
        return []
    found = {
        (arm, target): values.to_numpy(float)
        for arm in ablation.arms.mode_names
        for target in ablation.targets
        if len(values := difference(ablation, arm, f"test_srocc_{target}", setting))
    }
    plain = {key: ablation.interval(values) for key, values in found.items()}
    known = [key for key, interval in plain.items() if interval.p is not None]
    p_values = np.array([plain[key].p for key in known], dtype=float)
    adjusted = dict(zip(known, holm(p_values), strict=True)) if known else {}
    levels = dict(zip(known, holm_levels(p_values, ALPHA), strict=True)) if known else {}
    gains: list[Gain] = []
    for (arm, target), interval in plain.items():
        of, p, wider = modified_mode(ablation, arm), None, interval
        if (arm, target) in adjusted:
            factor, level = ablation.variance_factor(interval.n), float(levels[arm, target])
            wider = nadeau_bengio_interval(found[arm, target], factor, level)
            p = float(adjusted[arm, target])
        gains.append(Gain(arm, of, target, interval, p, wider))
    return gains


def arm_results(ablation: Ablation) -> Entry:
    """Arms in results.json: `guide_arms` at their own values, `arms` tuned, `arm_comparisons`."""
    arms = ablation.arms
    return {
        "arms": {} if arms is None else mode_entries(arms, "tuned"),
        "guide_arms": {} if arms is None else mode_entries(arms, "guide"),
        "arms_of": arm_column(ablation, "arm_of"),
        "arm_comparisons": {
            setting: [
                {
                    "arm": gain.arm,
                    "of": gain.of,
                    "target": gain.target,
                    "difference": as_entry(gain.interval),
                    "p_holm": gain.p,
                    "low_holm": gain.adjusted.low,
                    "high_holm": gain.adjusted.high,
                }
                for gain in arm_gains(ablation, setting)
            ]
            for setting in ("guide", "tuned")
        },
    }


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
                "their own values, paired by split: the mean, the Nadeau–Bengio interval adjusted "
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
    kept = difference(ablation, arm, "alignment_retention")
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
