"""The modes at a glance, on the cover: test SROCC, gap at the last epoch, delta saturation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qa_core.measures.catalogue import GAP_LAST, SATURATION, SROCC, Measure
from qa_core.measures.limits import BINDING_SHARE, GAP_LIMIT
from qa_core.records.schema import Reference, Setting
from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.evidence.frames import per_split, select
from reports.figures import style
from reports.figures.axes import empty, score_axes
from reports.figures.layout import new_figure
from reports.figures.page import Drawn, Page
from reports.figures.words import describe_bar
from reports.language import phrase, say, say_all
from reports.statistics import Interval
from reports.verdicts.measured import measure_mode

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS: tuple[tuple[Measure, float | None], ...] = (
    (SROCC, None),
    (GAP_LAST, GAP_LIMIT),
    (SATURATION, BINDING_SHARE),
)
"""What is shown, and the limit above which a reader has to act."""
LINES = {
    Reference.ZEROSHOT: phrase("zero-shot (dotted)"),
    Reference.RIDGE: phrase("ridge (dashed)"),
    Reference.SCENE: phrase("scene statistics (dash-dotted)"),
    Reference.CEILING: phrase("raters’ ceiling (solid, or at the edge)"),
}


@dataclass(frozen=True)
class PanelData:
    """One measure of one target: modes from top to bottom, lines, and a limit."""

    intervals: dict[str, Interval | None]
    lines: dict[str, float]
    limit: float | None


def compute_panel(
    ablation: Ablation, measure: Measure, target: Target, limit: float | None
) -> PanelData:
    """Mean and interval of each mode at the guide's setting; None where it is undefined."""
    metric = measure.logged(target)
    intervals: dict[str, Interval | None] = {}
    for mode in ablation.mode_names:
        values = ablation.by_split(mode, metric, Setting.GUIDE)
        intervals[mode] = None
        if len(values) and ablation.has_one_part:
            intervals[mode] = ablation.interval(values.to_numpy(float))
        elif len(values):
            intervals[mode] = measure_mode(ablation, mode, metric, Setting.GUIDE).interval
    lines: dict[str, float] = {}
    for name in LINES if measure is SROCC else ():
        values = per_split(select(ablation.references, reference=name), metric)
        if len(values):
            lines[name] = float(values.mean())
    return PanelData(intervals, lines, limit)


def draw_panel(data: PanelData, ax: "Axes") -> None:
    """A row a mode: mark and bar; a dash where the measure is undefined."""
    known = {mode: one for mode, one in data.intervals.items() if one is not None}
    if not known:
        empty(ax, say("undefined for all modes"))
        return
    for row, (mode, one) in enumerate(data.intervals.items()):
        tint = style.colour(mode)
        if one is None:
            ax.text(0.02, row, "–", transform=ax.get_yaxis_transform(), va="center",
                    color=style.MUTED)  # fmt: skip
            continue
        if one.low is not None and one.high is not None:
            ax.plot([one.low, one.high], [row, row], color=tint, lw=1.6)
        ax.scatter([one.mean], [row], s=26, marker=style.marker(mode), color=tint, zorder=3)
    shown = [at for one in known.values() for at in (one.mean, one.low, one.high) if at is not None]
    shown += [at for name, at in data.lines.items() if name != Reference.CEILING]
    for name, at in data.lines.items():
        if at - max(shown) > max(shown) - min(shown):  # its line would press the marks together
            words = say("ceiling {n} →", n=style.format_score(at))
            ax.text(1.02, 0.5, words, transform=ax.transAxes, va="center", rotation=90,
                    color=style.MUTED, fontsize=6.5)  # fmt: skip
            continue
        ax.axvline(at, color=style.MUTED, lw=0.8, ls=style.REFERENCE_DASHES[name], zorder=0)
    if data.limit is not None:
        ax.axvline(data.limit, color=style.LIMIT, lw=0.8, ls=(0, (4, 2)), zorder=0)
    ax.set_ylim(len(data.intervals) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    low, high = ax.get_xlim()
    ax.set_xlim(max(low, -1.02), min(high, 1.02))
    score_axes(ax, "x")


def _draw(ablation: Ablation) -> Drawn:
    rows = len(ablation.targets)
    height = rows * (0.5 + 0.155 * len(ablation.mode_names))
    figure, axes = new_figure(rows, len(PANELS), height, sharey=True)
    drawn: set[str] = set()
    titles = (say("train–validation gap"), say("delta saturation"))
    for row, target in enumerate(ablation.targets):
        for ax, (measure, limit) in zip(axes[row], PANELS, strict=True):
            data = compute_panel(ablation, measure, target, limit)
            drawn |= set(data.lines)
            draw_panel(data, ax)
        names = [style.label(mode) for mode in ablation.mode_names]
        axes[row, 0].set_yticks(range(len(names)), names)
        axes[row, 0].set_title(say("{target}: test SROCC", target=say(target)))
        for ax, title in zip(axes[row, 1:], titles, strict=True):
            ax.set_title(title)
    lines = say(", ").join(say(words) for name, words in LINES.items() if name in drawn)
    return figure, say_all(
        [
            say("Mark: mean; {bar}.", bar=describe_bar(ablation)),
            say("Lines: {lines}.", lines=lines) if lines else "",
            say(
                "Red: the limits of the guide, a usage guide of residual learning whose settings"
                " and claims are tested here. A dash: undefined."
            ),
            say(
                "SROCC: rank correlation with the opinions. Gap: SROCC on training less SROCC on"
                " validation images, at the last epoch. Saturation: share of images whose"
                " correction lies within 5 % of its bound. Alignment retention: rank correlation"
                " of cos(image, prompt) after training with before, 1 where CLIP is untouched."
            ),
        ]
    )


PAGE = Page("glance", "The modes at a glance, at the guide’s setting", _draw)
