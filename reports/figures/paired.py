"""Each mode beside the traditional one, paired by split: slopes, and their differences."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qa_core.arms import BASELINE
from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Setting
from reports.evidence.ablation import Ablation
from reports.figures import style
from reports.figures.axes import empty, jitter, name_columns, score_axes
from reports.figures.layout import new_figure
from reports.figures.page import Drawn, Page
from reports.figures.words import count_runs, describe_bar
from reports.language import say
from reports.statistics import (
    FloatArray,
    Interval,
)
from reports.verdicts.measured import measure_pair
from reports.verdicts.one_part import lifts_on_parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class PairedData:
    """By mode: test SROCC of the traditional mode on the same splits, and the lift over it."""

    target: str
    traditional: dict[str, FloatArray]
    differences: dict[str, FloatArray]
    intervals: dict[str, Interval]


def compute_paired(ablation: Ablation, target: str, setting: str = Setting.GUIDE) -> PairedData:
    """Test SROCC minus that of the traditional mode on the same split."""
    measure = SROCC.logged(target)
    base = ablation.by_split(BASELINE, measure, setting)
    pairs = {
        mode: pair
        for mode in ablation.mode_names
        if mode != BASELINE
        and len((pair := measure_pair(ablation, mode, BASELINE, measure, setting)).by_split)
    }
    traditional = {m: base.loc[pair.by_split.index].to_numpy(float) for m, pair in pairs.items()}
    differences = {mode: pair.array for mode, pair in pairs.items()}
    intervals = {mode: pair.interval for mode, pair in pairs.items()}
    if ablation.has_one_part:
        lifts = lifts_on_parts(ablation)
        for mode, lift in differences.items():
            intervals[mode] = lifts.get((target, mode, BASELINE), ablation.interval(lift))
    return PairedData(target, traditional, differences, intervals)


def draw_slopes(data: PairedData, ax: "Axes") -> None:
    """One line a split from the traditional mode's score to the mode's, the means thick."""
    if not data.differences:
        _say_what_is_needed(ax)
        return
    for column, (mode, lift) in enumerate(data.differences.items()):
        left, tint, xs = data.traditional[mode], style.colour(mode), [column - 0.22, column + 0.22]
        ax.plot(xs, [left, left + lift], color=tint, lw=0.6, alpha=0.35)
        ends = [left.mean(), (left + lift).mean()]
        ax.plot(xs, ends, color=tint, lw=1.8)
        for x, end, name in zip(xs, ends, (BASELINE, mode), strict=True):
            ax.plot([x], [end], color=style.colour(name), marker=style.marker(name), ms=5)
    _name_columns(ax, data)
    ax.set_title(say(data.target))


def draw_paired(data: PairedData, ax: "Axes") -> None:
    """One column a mode: points are splits, the bar their mean with its interval."""
    if not data.differences:
        _say_what_is_needed(ax)
        return
    ax.axhline(0, color=style.RULE, lw=0.8, zorder=0)
    for column, (mode, values) in enumerate(data.differences.items()):
        tint = style.colour(mode)
        xs = [column + 0.18 + offset for offset in jitter(len(values), 0.1)]
        ax.scatter(xs, values, s=9, color=tint, alpha=0.45, linewidths=0)
        interval = data.intervals[mode]
        if interval.low is not None and interval.high is not None:
            ax.plot([column - 0.1] * 2, [interval.low, interval.high], color=tint, lw=1.6)
        ax.scatter([column - 0.1], [interval.mean], s=28, marker=style.marker(mode), color=tint)
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -2.0), min(high, 2.0))  # what a difference of two SROCCs can be
    _name_columns(ax, data)


def _say_what_is_needed(ax: "Axes") -> None:
    empty(ax, say("needs the traditional mode and a rival on the same split"))


def _name_columns(ax: "Axes", data: PairedData) -> None:
    name_columns(ax, list(data.differences))
    ax.set_xlim(-0.5, len(data.differences) - 0.5)
    score_axes(ax, "y")


def _draw(ablation: Ablation) -> Drawn:
    figure, axes = new_figure(2, len(ablation.targets), 4.4, sharex="col")
    for column, target in enumerate(ablation.targets):
        data = compute_paired(ablation, target)
        draw_slopes(data, axes[0, column])
        draw_paired(data, axes[1, column])
    axes[0, 0].set_ylabel(say("test SROCC"))
    axes[1, 0].set_ylabel(say("test SROCC − traditional"))
    return figure, say(
        "Above: from the traditional mode (left end) to each other mode (right end) on the same "
        "split; thin: splits; thick: their mean. Below: the difference; points: splits; mark: "
        "mean; {bar}. {n}.",
        bar=say("bar: 95 % bootstrap interval over prompts")
        if ablation.has_one_part
        else describe_bar(ablation),
        n=count_runs(ablation),
    )


PAGE = Page("paired", "How far is each mode from direct prediction?", _draw)
