"""Further arms: test SROCC minus that of the mode that each modifies."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Setting
from reports.evidence.ablation import Ablation
from reports.figures import style
from reports.figures.axes import empty, jitter, score_axes
from reports.figures.layout import per_target
from reports.figures.page import Drawn, Page
from reports.figures.words import count_splits, describe_bar
from reports.language import say
from reports.statistics import FloatArray, Interval
from reports.verdicts.arms import measure_gain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class ArmGainsData:
    """Differences by arm (splits), with their unadjusted intervals."""

    target: str
    differences: dict[str, FloatArray]
    intervals: dict[str, Interval]


def compute_arm_gains(ablation: Ablation, target: str) -> ArmGainsData:
    """Test SROCC of each arm minus that of its mode on the same split."""
    names = ablation.arms.mode_names if ablation.arms is not None else ()
    found = {
        arm: one
        for arm in names
        if len((one := measure_gain(ablation, arm, SROCC.logged(target), Setting.GUIDE)).by_split)
    }
    intervals = {
        arm: ablation.interval(one.array) if ablation.has_one_part else one.interval
        for arm, one in found.items()
    }
    return ArmGainsData(target, {arm: one.array for arm, one in found.items()}, intervals)


def draw_arm_gains(data: ArmGainsData, ax: "Axes") -> None:
    """A row an arm: points are splits, the mark their mean, the bar its interval."""
    if not data.differences:
        empty(ax, say("needs an arm and its mode on the same split"))
        return
    ax.axvline(0, color=style.RULE, lw=0.8, zorder=0)
    for row, (arm, values) in enumerate(data.differences.items()):
        tint, interval = style.colour(arm), data.intervals[arm]
        ys = [row + 0.2 + offset for offset in jitter(len(values), 0.12)]
        ax.scatter(values, ys, s=9, color=tint, alpha=0.45, linewidths=0)
        if interval.low is not None and interval.high is not None:
            ax.plot([interval.low, interval.high], [row - 0.12] * 2, color=tint, lw=1.6)
        ax.scatter([interval.mean], [row - 0.12], s=28, marker=style.marker(arm), color=tint)
    ax.set_yticks(range(len(data.differences)), [style.label(arm) for arm in data.differences])
    ax.set_ylim(len(data.differences) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    low, high = ax.get_xlim()
    ax.set_xlim(max(low, -2.0), min(high, 2.0))  # what a difference of two SROCCs can be
    score_axes(ax, "x")
    ax.set_title(say(data.target))
    ax.set_xlabel(say("test SROCC, arm − its mode"))


def _draw(ablation: Ablation) -> Drawn:
    assert ablation.arms is not None
    height = 0.8 + 0.34 * len(ablation.arms.mode_names)
    figure, axes = per_target(ablation, height, sharey=True)
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_arm_gains(compute_arm_gains(ablation, target), ax)
    return figure, say(
        "Difference of each arm from the mode that it modifies, on the same split. Points: splits; "
        "mark: mean; {bar}. n = {n} splits, each at its own values.",
        bar=describe_bar(ablation),
        n=count_splits(ablation.arms.cells),
    )


PAGE = Page("arms", "What do the further arms earn?", _draw)
