"""Test SROCC of every mode, one point a split, with the reference rows as lines."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Setting
from reports.evidence.ablation import Ablation
from reports.evidence.frames import per_split, select
from reports.figures import style
from reports.figures.axes import empty, jitter, score_axes, spread
from reports.figures.layout import PAGE_HEIGHT, new_figure
from reports.figures.page import Drawn, Page
from reports.figures.words import count_runs, describe_bar
from reports.language import say
from reports.statistics import FloatArray, Interval
from reports.verdicts.measured import measure_mode

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Strip:
    """One row of the figure: a mode at a setting, its splits and their interval."""

    mode: str
    setting: str
    values: FloatArray
    interval: Interval


@dataclass(frozen=True)
class StripsData:
    """All strips of one target, and the mean of each reference that exists."""

    target: str
    strips: list[Strip]
    references: dict[str, float]


def compute_strips(ablation: Ablation, target: str) -> StripsData:
    """Test SROCC by split at the guide's setting, and at the tuned one where it differs."""
    measure = SROCC.logged(target)
    strips: list[Strip] = []
    for mode in ablation.mode_names:
        for setting in (Setting.GUIDE,) if mode in ablation.modes_kept else Setting:
            values = ablation.by_split(mode, measure, setting).to_numpy(float)
            if values.size and ablation.has_one_part:
                strips.append(Strip(mode, setting, values, ablation.interval(values)))
            elif values.size:
                found = measure_mode(ablation, mode, measure, setting)
                strips.append(Strip(mode, setting, found.array, found.interval))
    rows = ablation.references
    found = {n: per_split(select(rows, reference=n), measure) for n in ablation.reference_names}
    references = {name: float(v.mean()) for name, v in found.items() if len(v)}
    return StripsData(target, strips, references)


def draw_strips(data: StripsData, ax: "Axes") -> None:
    """Rows of points with mean and interval; references as labelled vertical lines."""
    if not data.strips:
        empty(ax, say("no finished run has this score"))
        return
    for row, strip in enumerate(data.strips):
        _draw_strip(ax, strip, row)
    ax.set_yticks(range(len(data.strips)), [_row_label(s) for s in data.strips])
    ax.set_ylim(len(data.strips) - 0.5, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(say("test SROCC, {target}", target=data.target))
    score_axes(ax, "x")
    _draw_references(ax, data)


def _row_label(strip: Strip) -> str:
    name = style.label(strip.mode)
    return say("{mode}, tuned", mode=name) if strip.setting == Setting.TUNED else name


def _draw_strip(ax: "Axes", strip: Strip, row: int) -> None:
    tint, shape = style.colour(strip.mode), style.marker(strip.mode)
    face = tint if strip.setting == Setting.GUIDE else "white"
    offsets = jitter(len(strip.values), 0.13)
    ys = [row + 0.2 + offset for offset in offsets]
    ax.scatter(strip.values, ys, s=9, color=tint, alpha=0.45, linewidths=0, zorder=2)
    interval = strip.interval
    if interval.low is not None and interval.high is not None:
        ax.plot([interval.low, interval.high], [row - 0.14] * 2, color=tint, lw=1.6, zorder=3)
    ax.scatter(
        [interval.mean], [row - 0.14], s=30, marker=shape, facecolor=face, edgecolor=tint,
        linewidths=1.2, zorder=4,
    )  # fmt: skip


def _draw_references(ax: "Axes", data: StripsData) -> None:
    low, high = ax.get_xlim()
    means = list(data.references.values())
    low, high = min([low, *means]), max([high, *means])
    margin = 0.04 * (high - low)
    # What SROCC can be: at two splits an interval may reach far outside.
    low, high = max(low - margin, -1.02), min(high + margin, 1.02)
    ax.set_xlim(low, high)
    span = high - low
    places = spread(means, 0.17 * span, low + 0.06 * span, high - 0.06 * span)
    transform = ax.get_xaxis_transform()
    for (name, mean), place in zip(data.references.items(), places, strict=True):
        ax.axvline(
            mean, color=style.MUTED, lw=0.8, ls=style.REFERENCE_DASHES.get(name, "-."), zorder=1
        )
        ax.plot(
            [mean, place], [1.0, 1.06], transform=transform, color=style.RULE, lw=0.6, clip_on=False
        )
        text = f"{style.plain(style.label(name))} {style.format_score(mean)}"
        ax.text(place, 1.07, text, transform=transform, ha="center", va="bottom", fontsize=8,
                color=style.MUTED)  # fmt: skip


def _draw(ablation: Ablation) -> Drawn:
    rows = len(ablation.targets)
    tuned = len(ablation.modes) - len(ablation.modes_kept)
    height = min(rows * (0.65 + 0.22 * (len(ablation.mode_names) + tuned)), PAGE_HEIGHT)
    figure, axes = new_figure(rows, 1, height)
    for ax, target in zip(axes[:, 0], ablation.targets, strict=True):
        draw_strips(compute_strips(ablation, target), ax)
    return figure, say(
        "Test SROCC. Small points: splits, each one test part of unseen prompts; mark: mean; "
        "{bar}, cut where it leaves what SROCC can be. Filled: "
        "the guide’s setting; hollow: the tuned one, where tuning moved it. Vertical lines: means "
        "of the reference rows. {n}.",
        bar=describe_bar(ablation),
        n=_count_both(ablation),
    )


def _count_both(ablation: Ablation) -> str:
    """Number of runs at the guide's setting and at the tuned one, in words."""
    tuned = len(select(ablation.cells, setting=Setting.TUNED))
    words = [count_runs(ablation), *([say("{n} tuned runs", n=str(tuned))] if tuned else [])]
    return say("; ").join(words)


PAGE = Page("srocc", "How well does each mode rank unseen prompts?", _draw)
