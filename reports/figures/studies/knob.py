"""A measure against a study's knob: one curve a mode (or a share of the data), with intervals."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reports.evidence.frames import mode_rank, select
from reports.evidence.studies import Study
from reports.figures import style
from reports.figures.axes import empty, log_axis, score_axes
from reports.language import say
from reports.statistics import Interval
from reports.verdicts.measured import measure_study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {
    "freeze_layers": "frozen blocks of each tower",
    "frozen_share": "share of the blocks that is frozen",
    "residual_scale": "residual scale, quality and consistency",
    "lr": "learning rate",
    "batch_size": "batch size",
    "train_share": "share of the training prompts",
}
LINEAR = ("freeze_layers", "frozen_share")
_DODGE = 0.012


@dataclass(frozen=True)
class Curve:
    """One curve: its points by the knob's value, each a mean over splits with its interval."""

    mode: str
    points: dict[float, Interval]
    label: str = ""
    hollow: bool = False


@dataclass(frozen=True)
class KnobData:
    """Curves of one measure, the knob's name, a title, and the band that the guide advises."""

    knob: str
    title: str
    curves: list[Curve] = field(default_factory=list)
    band: tuple[float, float] | None = None
    lowest: float = -1.0  # of the measure: -1 for a correlation, 0 for a share


def compute_curve(study: Study, knob: str, measure: str, **where: Any) -> dict[float, Interval]:
    """Mean over splits of the cells that `where` selects, by the knob's value, ascending."""
    points: dict[float, Interval] = {}
    cells = select(study.cells, **where)
    for value in sorted(set(cells[knob].dropna())) if knob in cells else ():
        found = measure_study(study, measure, **{knob: value}, **where)
        if len(found.by_split):
            points[float(value)] = found.interval
    return points


def compute_by_mode(
    study: Study, knob: str, measure: str, title: str, band: tuple[float, float] | None = None
) -> KnobData:
    """A curve a mode, over the points that vary this knob alone."""
    modes = sorted(set(study.cells["mode"]), key=mode_rank)
    curves = [Curve(m, compute_curve(study, knob, measure, mode=m, varies=knob)) for m in modes]
    lowest = -1.0 if "srocc" in measure else 0.0
    return KnobData(knob, title, [curve for curve in curves if curve.points], band, lowest)


def draw_knob(data: KnobData, ax: "Axes") -> None:
    """Means joined by a line, their intervals as bars, curves moved apart a little."""
    if not data.curves:
        empty(ax, say("no cell of this study has this measure"))
        return
    if data.band is not None:
        ax.axvspan(*data.band, color=style.RULE, alpha=0.35, lw=0, zorder=0)
    linear = data.knob in LINEAR
    values = sorted({value for curve in data.curves for value in curve.points})
    span = values[-1] / values[0] if not linear and values[0] > 0 else values[-1] - values[0]
    for number, curve in enumerate(data.curves):
        shift = _DODGE * (number - (len(data.curves) - 1) / 2)
        xs = [x + shift * span if linear else x * span**shift for x in curve.points]
        _draw_curve(ax, curve, xs)
    if not linear:
        log_axis(ax)
    if data.knob != "lr":  # the modes' rates are too many, and too near each other
        ax.minorticks_off()
        ax.set_xticks(values, [_tick(data.knob, value) for value in values])
    _stay_possible(ax, data.lowest)
    score_axes(ax, "y")
    ax.set_title(say(data.title))
    ax.set_xlabel(say(LABELS[data.knob]))


def _stay_possible(ax: "Axes", lowest: float) -> None:
    """Cut the y axis at what the measure can be: intervals of few splits reach far beyond."""
    low, high = ax.get_ylim()
    high = min(max(high, lowest + 0.05), 1.02)
    low = -0.03 * high if lowest == 0.0 else max(low, lowest)
    ax.set_ylim(low, high)


def _draw_curve(ax: "Axes", curve: Curve, xs: list[float]) -> None:
    tint, intervals = style.colour(curve.mode), list(curve.points.values())
    means = [interval.mean for interval in intervals]
    ax.plot(
        xs, means, color=tint, lw=1.0, ls="--" if curve.hollow else "-", zorder=2,
        marker=style.marker(curve.mode), ms=4, mfc="white" if curve.hollow else tint,
        label=curve.label or style.label(curve.mode),
    )  # fmt: skip
    for x, interval in zip(xs, intervals, strict=True):
        if interval.low is not None and interval.high is not None:
            ax.plot([x, x], [interval.low, interval.high], color=tint, lw=1.0, alpha=0.55, zorder=1)


def _tick(knob: str, value: float) -> str:
    if knob in ("train_share", "frozen_share"):
        return f"{100 * value:.0f} %"
    return f"{value:g}".replace("0.", ".", 1) if 0 < value < 1 else f"{value:g}"
