"""Further arms beside the four modes: what each earns over the mode that it modifies.

The guide's claims are about the modes; arms have a Holm family of their own.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Setting
from reports.evidence.ablation import Ablation
from reports.inference.decisions import ALPHA
from reports.statistics import Interval, holm, holm_levels
from reports.verdicts.measured import Entry, Measured, measure, side_of
from reports.verdicts.results import as_entry, mode_entries


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


def difference(
    ablation: Ablation, arm: str, measure: str, setting: str = Setting.GUIDE
) -> pd.Series:
    """A measure of an arm minus that of its mode, by the splits that both have."""
    assert ablation.arms is not None
    own = ablation.arms.by_split(arm, measure, setting)
    other = ablation.by_split(modified_mode(ablation, arm), measure, setting)
    both = own.index.intersection(other.index)
    return own.loc[both] - other.loc[both]


def arm_gains(ablation: Ablation, setting: str = Setting.GUIDE) -> list[Gain]:
    """Gains of all arms on all targets; none where the protocol decides nothing."""
    if ablation.arms is None or not ablation.decides:
        return []
    measured = {
        (arm, target): found
        for arm in ablation.arms.mode_names
        for target in ablation.targets
        if len((found := measure_gain(ablation, arm, SROCC.logged(target), setting)).by_split)
    }
    known = {key: one.estimate for key, one in measured.items() if one.estimate is not None}
    p_values = np.array([estimate.p() for estimate in known.values()])
    adjusted = dict(zip(known, holm(p_values), strict=True)) if known else {}
    levels = dict(zip(known, holm_levels(p_values, ALPHA), strict=True)) if known else {}
    gains: list[Gain] = []
    for (arm, target), one in measured.items():
        of, p, wider = modified_mode(ablation, arm), None, one.interval
        if (arm, target) in known:
            wider = known[arm, target].interval(float(levels[arm, target]))
            p = float(adjusted[arm, target])
        gains.append(Gain(arm, of, target, one.interval, p, wider))
    return gains


def measure_gain(ablation: Ablation, arm: str, measure_name: str, setting: str) -> Measured:
    """A measure of an arm minus that of its mode, by the splits that both have, with its error."""
    assert ablation.arms is not None
    own = side_of(ablation.arms, arm, setting)
    other = side_of(ablation, modified_mode(ablation, arm), setting)
    return measure(ablation.design, [(1.0, own), (-1.0, other)], measure_name)


def arm_results(ablation: Ablation) -> Entry:
    """Arms in results.json: `guide_arms` at their own values, `arms` tuned, `arm_comparisons`."""
    arms = ablation.arms
    return {
        "arms": {} if arms is None else mode_entries(arms, Setting.TUNED),
        "guide_arms": {} if arms is None else mode_entries(arms, Setting.GUIDE),
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
            for setting in Setting
        },
    }
