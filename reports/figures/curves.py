"""Learning curves: SROCC on train and validation by epoch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from reports.evidence.frames import quantiles_by_epoch, select
from reports.evidence.load import Ablation
from reports.figures import style
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class CurveData:
    """One mode and target: epoch -> median, low, high over runs, for train and validation."""

    mode: str
    target: str
    train: pd.DataFrame
    validation: pd.DataFrame
    n: int


def compute_curves(ablation: Ablation, mode: str, target: str) -> CurveData:
    """Median and interquartile band over runs at the guide's setting."""
    curves = ablation.curves
    own = select(curves, mode=mode, setting="guide")
    return CurveData(
        mode,
        target,
        quantiles_by_epoch(own, f"train_srocc_{target}", 0.25, 0.75),
        quantiles_by_epoch(own, f"val_srocc_{target}", 0.25, 0.75),
        len(set(own["run_id"])),
    )


def draw_curves(data: CurveData, ax: "Axes") -> None:
    """Train dashed in grey, validation in the mode's colour."""
    if data.validation.empty:
        style.empty(ax, say("no curve was logged"))
        return
    tint = style.colour(data.mode)
    for band, line, shade in ((data.train, (0, (4, 2)), style.MUTED), (data.validation, "-", tint)):
        if band.empty:
            continue
        ax.fill_between(band.index, band["low"], band["high"], color=shade, alpha=0.15, lw=0)
        ax.plot(band.index, band["median"], color=shade, ls=line)
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    style.score_axes(ax, "y")
