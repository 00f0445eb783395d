"""Predicted against human opinion, image by image."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from qa_core.records.schema import Setting
from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.evidence.frames import select
from reports.figures import style
from reports.figures.axes import empty
from reports.figures.layout import per_target_and_mode
from reports.figures.page import Drawn, Page
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class ScatterData:
    """One mode and target: mos and prediction by image, averaged over the splits that test it."""

    mode: str
    target: str
    points: pd.DataFrame


def compute_scatter(ablation: Ablation, mode: str, target: Target) -> ScatterData:
    """Test predictions at the guide's setting."""
    columns = {target.mos: "mos", target.prediction: "prediction"}
    table = ablation.predictions
    if not set(columns) <= set(table.columns):
        return ScatterData(mode, target, pd.DataFrame(columns=pd.Index(["mos", "prediction"])))
    own = select(table, setting=Setting.GUIDE, mode=mode).filter(["row", *columns])
    points: Any = own.rename(columns=columns).dropna().groupby("row").mean()
    return ScatterData(mode, target, points)


def draw_scatter(data: ScatterData, ax: "Axes") -> None:
    """Points in the mode's colour over the line on which prediction equals opinion."""
    if data.points.empty:
        empty(ax, say("no predictions"))
        return
    points = data.points
    ax.scatter(points["mos"], points["prediction"], s=5, color=style.colour(data.mode), alpha=0.4,
               linewidths=0, rasterized=True)  # fmt: skip
    ax.plot([0, 1], [0, 1], color=style.MUTED, lw=0.6)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    ax.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
    ax.set_aspect("equal")


def _draw(ablation: Ablation) -> Drawn:
    figure, cells = per_target_and_mode(ablation, 0.2, sharey=True)
    for target, mode, ax, first in cells:
        draw_scatter(compute_scatter(ablation, mode, target), ax)
        if first:
            ax.set_ylabel(say("predicted {target}", target=target))
    figure.supxlabel(say("MOS"), fontsize="medium")
    table = ablation.predictions
    images = len(set(select(table, setting=Setting.GUIDE)["row"])) if len(table) else 0
    return figure, say(
        "Predicted against mean opinion score, one point a test image, predictions averaged over "
        "the splits that tested it; line: equality. n = {images} images, the guide’s setting; "
        "no band.",
        images=str(images),
    )


PAGE = Page("scatter", "What do the predictions look like?", _draw)
