"""Error by decile of human opinion: where predictions are drawn to the middle, and how far off."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.figures import style
from reports.figures.axes import empty, score_axes
from reports.figures.layout import mode_legend, new_figure
from reports.figures.page import Drawn, Page
from reports.figures.scatter import compute_scatter
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DECILES = 10


@dataclass(frozen=True)
class DecilesData:
    """Per mode: mean error (prediction − MOS) and mean |error| by decile, columns bias and size.

    Attributes:
        target: The target.
        by_mode: Index 1 to 10 by MOS; deciles that tied scores leave empty are missing.
        n: Images behind it.
    """

    target: str
    by_mode: dict[str, pd.DataFrame]
    n: int


def compute_deciles(ablation: Ablation, target: Target) -> DecilesData:
    """Test images at the guide's setting, predictions averaged over the splits that tested them."""
    by_mode: dict[str, pd.DataFrame] = {}
    n = 0
    for mode in ablation.mode_names:
        points = compute_scatter(ablation, mode, target).points
        if len(points) < DECILES:
            continue
        rank: Any = points["mos"].rank(method="average")
        decile = np.ceil(DECILES * rank / len(points)).astype(int)
        error = points["prediction"] - points["mos"]
        errors: Any = pd.DataFrame({"bias": error, "size": error.abs()})
        by_mode[mode] = errors.groupby(decile.to_numpy()).mean()
        n = max(n, len(points))
    return DecilesData(target, by_mode, n)


def draw_deciles(data: DecilesData, column: str, ax: "Axes") -> None:
    """One line a mode over the deciles; `column` is bias or size."""
    from matplotlib.ticker import MultipleLocator

    if not data.by_mode:
        empty(ax, say("fewer than ten tested images have this score"))
        return
    for mode, errors in data.by_mode.items():
        ax.plot(errors.index, errors[column], color=style.colour(mode), marker=style.marker(mode),
                ms=4, lw=1.0)  # fmt: skip
    if column == "bias":
        ax.axhline(0, color=style.RULE, lw=0.8, zorder=0)
        ax.set_title(say(data.target))
    else:
        ax.set_xlabel(say("decile of MOS, lowest first"))
    ax.xaxis.set_major_locator(MultipleLocator(1))
    score_axes(ax, "y")


def _draw(ablation: Ablation) -> Drawn:
    figure, axes = new_figure(2, len(ablation.targets), 3.9, sharex=True, sharey="row")
    data = [compute_deciles(ablation, target) for target in ablation.targets]
    for column, one in enumerate(data):
        for row, kind in enumerate(("bias", "size")):
            draw_deciles(one, kind, axes[row, column])
    axes[1, 0].set_ylim(0, max(axes[1, 0].get_ylim()[1], 0.1))
    axes[0, 0].set_ylabel(say("prediction − MOS"))
    axes[1, 0].set_ylabel(say("|prediction − MOS|"))
    mode_legend(figure, ablation.mode_names)
    return figure, say(
        "Error by decile of mean opinion score. Above: mean of prediction − MOS (above 0 too "
        "kind, below 0 too harsh; a falling line is drawn to the middle); below: mean size of the "
        "error. Predictions averaged over the splits that tested an image. n = {images} images, "
        "the guide’s setting; no band.",
        images=str(max((one.n for one in data), default=0)),
    )


PAGE = Page("deciles", "Which images are scored too kindly?", _draw)
