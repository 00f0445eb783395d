"""Learning curves: SROCC on train and validation by epoch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Setting
from reports.evidence.ablation import Ablation
from reports.evidence.frames import quantiles_by_epoch, select
from reports.figures import style
from reports.figures.axes import empty, score_axes
from reports.figures.layout import per_target_and_mode
from reports.figures.page import Drawn, Page
from reports.figures.words import count_runs
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
    own = select(curves, mode=mode, setting=Setting.GUIDE)
    return CurveData(
        mode,
        target,
        quantiles_by_epoch(own, f"train_srocc_{target}", 0.25, 0.75),
        quantiles_by_epoch(own, SROCC.curve(target), 0.25, 0.75),
        len(set(own["run_id"])),
    )


def draw_curves(data: CurveData, ax: "Axes") -> None:
    """Train dashed in grey, validation in the mode's colour."""
    if data.validation.empty:
        empty(ax, say("no curve was logged"))
        return
    tint = style.colour(data.mode)
    for band, line, shade in ((data.train, (0, (4, 2)), style.MUTED), (data.validation, "-", tint)):
        if band.empty:
            continue
        ax.fill_between(band.index, band["low"], band["high"], color=shade, alpha=0.15, lw=0)
        ax.plot(band.index, band["median"], color=shade, ls=line)
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    score_axes(ax, "y")


def _draw(ablation: Ablation) -> Drawn:
    figure, cells = per_target_and_mode(ablation, 0.3, sharey="row")
    for target, mode, ax, first in cells:
        draw_curves(compute_curves(ablation, mode, target), ax)
        if first:
            ax.set_ylabel(say("SROCC, {target}", target=target))
    figure.supxlabel(say("epoch"), fontsize="medium")
    return figure, say(
        "SROCC by epoch on validation (colour, solid) and on a fixed train subset of the same "
        "size (grey, dashed), both in eval mode; epoch 0 is before training. Line: median over "
        "runs; band: their interquartile range. {n}.",
        n=count_runs(ablation),
    )


PAGE = Page("curves", "How does each mode learn?", _draw)
