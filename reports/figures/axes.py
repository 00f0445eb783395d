"""What figures share within their axes: ticks, limits, places of labels and points."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.figures import style
from reports.figures.layout import MODES_A_ROW
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EMPTY = "empty: "


def name_columns(ax: "Axes", modes: Sequence[str], narrow: bool = False) -> None:
    """Modes as ticks 0, 1, ... of the x axis: in two lines, slanted where many, or narrow."""
    names = [style.short(mode) for mode in modes]
    if len(names) <= MODES_A_ROW and not narrow:
        ax.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
    else:
        ax.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")


def score_axes(ax: "Axes", which: str) -> None:
    """Write ticks as the field writes scores, .75 for 0.75; `which` is "x", "y" or "xy"."""
    import re

    from matplotlib.ticker import ScalarFormatter

    class ScoreFormatter(ScalarFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            if x == 0:
                return "0"
            return re.sub(r"^(\D?)0\.", r"\1.", super().__call__(x, pos))

    for name in which:
        axis = ax.xaxis if name == "x" else ax.yaxis
        axis.set_major_formatter(ScoreFormatter(useOffset=False))


def log_axis(ax: "Axes") -> None:
    """A logarithmic x axis with few ticks, written as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 3.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def limit_line(ax: "Axes", y: float, text: str) -> None:
    """A dashed horizontal limit, labelled outside the axes, where no point can lie."""
    ax.axhline(y, color=style.LIMIT, lw=0.8, ls=(0, (4, 2)), zorder=0)
    ax.text(1.01, y, text, color=style.LIMIT, fontsize=8, ha="left", va="center",
            transform=ax.get_yaxis_transform())  # fmt: skip


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart by at least `gap`, staying near and within [low, high].

    Pairs that are too close are pushed apart evenly until all fit; if they cannot all fit, they
    are spaced evenly.
    """
    if not positions:
        return []
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    placed = [min(max(positions[i], low), high) for i in order]
    if gap * (len(placed) - 1) >= high - low:
        step = (high - low) / max(len(placed) - 1, 1)
        placed = [low + step * k for k in range(len(placed))]
    else:
        for _ in range(200):
            for k in range(len(placed) - 1):
                lack = gap - (placed[k + 1] - placed[k])
                if lack > 0:
                    placed[k] -= lack / 2
                    placed[k + 1] += lack / 2
            overhang_low, overhang_high = low - placed[0], placed[-1] - high
            if overhang_low > 0:
                placed[0] += overhang_low
            if overhang_high > 0:
                placed[-1] -= overhang_high
    result = [0.0] * len(placed)
    for place, i in zip(placed, order, strict=True):
        result[i] = place
    return result


def jitter(n: int, width: float) -> list[float]:
    """Offsets in [-width, width] that keep n points apart, the same every time."""
    golden = 0.6180339887498949
    return [((i * golden) % 1.0 * 2 - 1) * width for i in range(n)]


def empty(ax: "Axes", reason: str) -> None:
    """Say in the axes' place why there is nothing to draw."""
    from textwrap import fill

    ax.set_axis_off()
    ax.set_label(_EMPTY + reason)
    ax.text(
        0.5, 0.5, fill(reason, 34), ha="center", va="center", color=style.MUTED, style="italic",
        transform=ax.transAxes,
    )  # fmt: skip


def why_empty(figure: "Figure") -> str:
    """Why a figure shows nothing at all; empty where any of its axes holds something."""
    marks = [str(ax.get_label()) for ax in figure.axes]
    if not all(mark.startswith(_EMPTY) for mark in marks):
        return ""
    return say("; ").join(dict.fromkeys(mark.removeprefix(_EMPTY) for mark in marks))
