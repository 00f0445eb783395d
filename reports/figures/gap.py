"""Train-validation gap against validation SROCC, one point a run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from qa_core.measures.catalogue import GAP, GAP_LAST, SROCC
from qa_core.measures.limits import GAP_LIMIT
from qa_core.records.schema import Setting
from reports.evidence.ablation import Ablation
from reports.figures import style
from reports.figures.axes import empty, limit_line, score_axes
from reports.figures.layout import mode_legend, per_target
from reports.figures.page import Drawn, Page
from reports.figures.words import count_runs
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class GapData:
    """Runs with val_srocc, gap (best checkpoint), gap_last, mode."""

    target: str
    points: pd.DataFrame


def compute_gap(ablation: Ablation, target: str) -> GapData:
    """Gap at the best checkpoint and at the last epoch, guide's setting."""
    columns = {
        f"best_{SROCC.curve(target)}": "val_srocc",
        GAP.logged(target): "gap",
        GAP_LAST.logged(target): "gap_last",
    }
    cells = ablation.settled(Setting.GUIDE)
    if not set(columns) <= set(cells.columns):
        return GapData(target, pd.DataFrame(columns=pd.Index(["mode", *columns.values()])))
    points = cells.filter(["mode", *columns]).rename(columns=columns).dropna()
    return GapData(target, points)


def draw_gap(data: GapData, ax: "Axes") -> None:
    """Filled: best checkpoint; the tail of each point ends at the last epoch's gap."""
    if data.points.empty:
        empty(ax, say("no run has both a validation SROCC and a gap"))
        return
    for mode, runs in data.points.groupby("mode", sort=False):
        tint = style.colour(str(mode))
        ax.vlines(runs["val_srocc"], runs["gap"], runs["gap_last"], color=tint, lw=0.7, alpha=0.5)
        ax.scatter(runs["val_srocc"], runs["gap"], s=20, marker=style.marker(str(mode)),
                   color=tint, alpha=0.85, linewidths=0, label=style.label(str(mode)))  # fmt: skip
    limit_line(ax, GAP_LIMIT, say("limit"))
    score_axes(ax, "xy")
    ax.set_title(say(data.target))
    ax.set_xlabel(say("validation SROCC"))


def _draw(ablation: Ablation) -> Drawn:
    figure, axes = per_target(ablation, 2.7, sharey=True)
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_gap(compute_gap(ablation, target), ax)
    axes[0].set_ylabel(say("train − validation SROCC"))
    mode_legend(figure, ablation.mode_names)
    return figure, say(
        "Train–validation gap against validation SROCC, one mark a run, at the best checkpoint; "
        "the tail of a mark leads to the gap at the last epoch, which selection has not shrunk. "
        "Dashed: the guide’s limit. {n}; no interval is drawn.",
        n=count_runs(ablation),
    )


PAGE = Page("gap", "Does it overfit?", _draw)
