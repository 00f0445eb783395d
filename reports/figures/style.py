"""One look for every figure: palette, marker shapes, type; Typst sets the text afterwards."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_core.arms import find_mode
from reports.fonts import register_with_matplotlib, typeface
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE_WIDTH = 6.3  # inches between the margins of the A4 page
PAGE_HEIGHT = 7.8  # what heading and caption leave of it
INK = "#222222"
MUTED = "#767676"
RULE = "#c9c9c9"
LIMIT = "#8a1c1c"

REFERENCE_LABELS = {
    "zeroshot": "zero-shot",
    "ridge": "ridge",
    "floor": "floor",
    "ceiling": "ceiling",
}
REFERENCE_DASHES: dict[str, Any] = {
    "zeroshot": (0, (1, 1.5)),
    "ridge": (0, (5, 2)),
    "floor": (0, (3, 1.5, 1, 1.5)),
    "ceiling": "-",
}

# STIX (see `new_figure`) stands in while matplotlib measures: it is about as wide as the face
# that Typst sets.
_RC: dict[str, Any] = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.1,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
    "svg.hashsalt": "qa",
    "figure.constrained_layout.use": True,
    "axes.unicode_minus": True,
}


_EMPTY = "empty: "
MODES_A_ROW = 4


def new_figure(rows: int, columns: int, height: float, **kwargs: Any) -> tuple["Figure", Any]:
    """A figure of the page's width and its axes (rows, columns), in the report's style."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    matplotlib.rcdefaults()
    parameters: Any = matplotlib.rcParams
    face = typeface.get()
    register_with_matplotlib(face)
    # In order of preference; a letter that one lacks is measured with the next.
    parameters.update(_RC | {"font.family": [face.families[0], "STIXGeneral", *face.families[1:]]})
    figure, axes = plt.subplots(
        rows, columns, figsize=(PAGE_WIDTH, height), squeeze=False, **kwargs
    )
    return figure, axes


def load_matplotlib() -> None:
    """Import what figures are drawn with."""
    import matplotlib.pyplot  # noqa: F401


def save_unless_empty(figure: "Figure", path: Path) -> str:
    """Write an SVG that is the same, byte for byte, for the same data.

    Returns:
        Nothing, or why the figure shows nothing at all; then there is no file.
    """
    import matplotlib.pyplot as plt

    reason = _why_empty(figure)
    if reason:
        path.unlink(missing_ok=True)  # one of an earlier build would not tell its age
    else:
        with warnings.catch_warnings():
            # it only measures, and knows a file of several faces by the first alone
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure.savefig(path, format="svg", dpi=300, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return reason


def colour(mode: str) -> str:
    """A mode's colour, the same in every figure."""
    record = find_mode(mode)
    return record.colour if record else MUTED


def marker(mode: str) -> str:
    """A mode's marker shape, the same in every figure."""
    record = find_mode(mode)
    return record.marker if record else "v"


def label(name: str) -> str:
    """A mode's or a reference's name in words."""
    record = find_mode(name)
    return say(record.label if record else REFERENCE_LABELS.get(name, name))


def short(name: str) -> str:
    """The same where room is scarce."""
    record = find_mode(name)
    return say(record.short) if record and record.short else label(name)


def has_label(name: str) -> bool:
    """Whether a name is that of a mode, an arm or a reference."""
    return find_mode(name) is not None or name in REFERENCE_LABELS


def plain(text: str, longest: int = 18) -> str:
    """A name of the user's as matplotlib should draw it: no mathematics, no control characters."""
    clean = "".join(ch if ch.isprintable() else " " for ch in text)
    clean = clean if len(clean) <= longest else clean[: longest - 1] + "…"
    return clean.replace("$", r"\$")


def mode_legend(figure: "Figure", modes: Sequence[str]) -> None:
    """The key of modes above a figure, the same everywhere."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], ls="", marker=marker(m), color=colour(m), ms=5,
               label=label(m)) for m in modes
    ]  # fmt: skip
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=4, handletextpad=0.2,
                      columnspacing=1.8, borderpad=0.0)  # fmt: skip


def name_columns(ax: "Axes", modes: Sequence[str]) -> None:
    """Modes as ticks 0, 1, ... of the x axis: in two lines where few, slanted where many."""
    names = [short(mode) for mode in modes]
    if len(names) <= MODES_A_ROW:
        ax.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
    else:
        ax.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")


def format_score(value: float) -> str:
    """A score as the field writes it: .756, −.031; a number beyond 1 keeps its digits."""
    text = f"{abs(value):.3f}"
    return ("−" if value < 0 else "") + (text[1:] if text.startswith("0.") else text)


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
    ax.axhline(y, color=LIMIT, lw=0.8, ls=(0, (4, 2)), zorder=0)
    ax.text(1.01, y, text, color=LIMIT, fontsize=8, ha="left", va="center",
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
        0.5, 0.5, fill(reason, 34), ha="center", va="center", color=MUTED, style="italic",
        transform=ax.transAxes,
    )  # fmt: skip


def _why_empty(figure: "Figure") -> str:
    """Why a figure shows nothing at all; empty where any of its axes holds something."""
    marks = [str(ax.get_label()) for ax in figure.axes]
    if not all(mark.startswith(_EMPTY) for mark in marks):
        return ""
    return say("; ").join(dict.fromkeys(mark.removeprefix(_EMPTY) for mark in marks))
