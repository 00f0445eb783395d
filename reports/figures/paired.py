"""Difference of each mode from the traditional one, paired by split."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports import style
from reports.language import say
from reports.load import Ablation
from reports.statistics import (
    FloatArray,
    Interval,
    nadeau_bengio_interval,
    paired_differences,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BASELINE = "traditional"


@dataclass(frozen=True)
class PairedData:
    """Differences from the traditional mode by mode, with their intervals."""

    target: str
    differences: dict[str, FloatArray]
    intervals: dict[str, Interval]


def compute_paired(ablation: Ablation, target: str, setting: str = "guide") -> PairedData:
    """Test SROCC minus that of the traditional mode on the same split."""
    measure = f"test_srocc_{target}"
    base = ablation.by_split(BASELINE, measure, setting)
    differences: dict[str, FloatArray] = {}
    for mode in ablation.mode_names:
        own = ablation.by_split(mode, measure, setting)
        both = own.index.intersection(base.index)
        if mode != BASELINE and len(both):
            differences[mode] = paired_differences(own.loc[both], base.loc[both])
    intervals = {
        mode: nadeau_bengio_interval(d, ablation.variance_factor(d.size))
        for mode, d in differences.items()
    }
    return PairedData(target, differences, intervals)


def draw_paired(data: PairedData, ax: "Axes") -> None:
    """One column a mode: points are splits, the bar their mean with its interval."""
    if not data.differences:
        style.empty(ax, say("needs the traditional mode and a rival on the same split"))
        return
    ax.axhline(0, color=style.RULE, lw=0.8, zorder=0)
    for column, (mode, values) in enumerate(data.differences.items()):
        tint = style.colour(mode)
        xs = [column + 0.18 + offset for offset in style.jitter(len(values), 0.1)]
        ax.scatter(xs, values, s=9, color=tint, alpha=0.45, linewidths=0)
        interval = data.intervals[mode]
        if interval.low is not None and interval.high is not None:
            ax.plot([column - 0.1] * 2, [interval.low, interval.high], color=tint, lw=1.6)
        ax.scatter([column - 0.1], [interval.mean], s=28, marker=style.marker(mode), color=tint)
    names = [style.short(mode).replace(" ", "\n") for mode in data.differences]
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.5, len(names) - 0.5)
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -2.0), min(high, 2.0))  # what a difference of two SROCCs can be
    style.score_axes(ax, "y")
    ax.set_title(say(data.target))
