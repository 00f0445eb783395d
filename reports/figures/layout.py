"""How axes stand on the report's page; Typst sets the text afterwards."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.figures import style
from reports.fonts import register_with_matplotlib, typeface

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE_WIDTH = 6.3  # inches between the margins of the A4 page
PAGE_HEIGHT = 7.8  # what heading and caption leave of it
MODES_A_ROW = 5

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
    "axes.labelcolor": style.INK,
    "text.color": style.INK,
    "xtick.color": style.INK,
    "ytick.color": style.INK,
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


def lay_out(figure: "Figure") -> None:
    """Place the axes once and for all; saving would draw everything twice to do it."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def per_target(
    ablation: Ablation, height: float, sharey: bool = False
) -> "tuple[Figure, Sequence]":
    """A row of axes, one a target."""
    figure, axes = new_figure(1, len(ablation.targets), height, sharey=sharey)
    return figure, axes[0]


def per_target_and_mode(
    ablation: Ablation, extra: float, sharey: bool | str
) -> "tuple[Figure, list[tuple[Target, str, Axes, bool]]]":
    """Axes of each target and mode, at most five in a row, titled with the mode.

    Returns:
        The figure; target, mode, axes, and whether it stands first in its row.
    """
    modes = ablation.mode_names
    chunks = [modes[k : k + MODES_A_ROW] for k in range(0, len(modes), MODES_A_ROW)]
    rows = [(target, chunk) for target in ablation.targets for chunk in chunks or [()]]
    columns = max((len(chunk) for chunk in chunks), default=1)
    height = min(1.75 * len(rows) + extra, PAGE_HEIGHT)
    figure, axes = new_figure(len(rows), columns, height, sharex=True, sharey=sharey)
    cells: list[tuple[Target, str, Axes, bool]] = []
    for row, (target, chunk) in enumerate(rows):
        for column in range(columns):
            ax = axes[row, column]
            if column >= len(chunk):
                ax.set_visible(False)
                axes[row - 1, column].tick_params(labelbottom=True)
                continue
            if row < max(len(chunks), 1) or len(chunks) > 1:
                ax.set_title(style.short(chunk[column]), color=style.colour(chunk[column]))
            cells.append((target, chunk[column], ax, column == 0))
    return figure, cells


def mode_legend(figure: "Figure", modes: Sequence[str]) -> None:
    """The key of modes above a figure, the same everywhere."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], ls="", marker=style.marker(m), color=style.colour(m), ms=5,
               label=style.label(m)) for m in modes
    ]  # fmt: skip
    if handles:
        figure.legend(
            handles=handles, loc="outside upper left", ncols=MODES_A_ROW, handletextpad=0.2,
            columnspacing=1.8, borderpad=0.0,
        )  # fmt: skip
