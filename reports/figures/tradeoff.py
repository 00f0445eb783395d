"""Test SROCC against what it costs: alignment given up, or seconds an epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qa_core.measures import catalogue
from qa_core.measures.catalogue import EPOCH_SECONDS, PARAMETERS, SROCC
from reports.evidence.ablation import Ablation
from reports.figures import style
from reports.figures.axes import empty, log_axis, score_axes
from reports.figures.layout import mode_legend, per_target
from reports.figures.page import Drawn, Page
from reports.figures.words import count_runs
from reports.language import say
from reports.text.wording import retention_pairs_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = {
    catalogue.RETENTION.logged(): "alignment retention",
    EPOCH_SECONDS.logged(): "seconds an epoch",
}


@dataclass(frozen=True)
class TradeoffData:
    """One point a mode and split: mode, cost, srocc; and the parameters that each mode trains."""

    target: str
    cost: str
    points: pd.DataFrame
    trainable: dict[str, float]


def compute_tradeoff(ablation: Ablation, target: str, cost: str) -> TradeoffData:
    """Pairs (cost, test SROCC) by split at the guide's setting."""
    frames: list[pd.DataFrame] = []
    trainable: dict[str, float] = {}
    for mode in ablation.mode_names:
        columns = {
            "cost": ablation.by_split(mode, cost),
            "srocc": ablation.by_split(mode, SROCC.logged(target)),
        }
        frames.append(pd.DataFrame(columns).dropna().assign(mode=mode))
        parameters = ablation.by_split(mode, PARAMETERS.logged())
        if len(parameters):
            trainable[mode] = float(parameters.mean())
    points = pd.concat(frames) if frames else pd.DataFrame(columns=pd.Index(["cost", "mode"]))
    return TradeoffData(target, cost, points, trainable)


def draw_tradeoff(data: TradeoffData, ax: "Axes") -> None:
    """Faint points are splits, the large mark a mode's mean."""
    if data.points.empty:
        empty(ax, say("{measure} is undefined in every run", measure=AXES[data.cost]))
        return
    for mode, runs in data.points.groupby("mode", sort=False):
        tint, shape = style.colour(str(mode)), style.marker(str(mode))
        ax.scatter(runs["cost"], runs["srocc"], s=9, color=tint, alpha=0.35, linewidths=0)
        rim = "face" if shape.startswith("$") else "white"  # which would eat a letter's strokes
        ax.scatter([runs["cost"].mean()], [runs["srocc"].mean()], s=42, marker=shape, color=tint,
                   edgecolor=rim, linewidths=0.6, zorder=3)  # fmt: skip
    score_axes(ax, "y" if data.cost == EPOCH_SECONDS.logged() else "xy")
    costs = data.points["cost"].to_numpy(float)
    if data.cost == EPOCH_SECONDS.logged() and costs.min() > 0 and np.ptp(np.log10(costs)) > 0.7:
        log_axis(ax)
    ax.set_title(say(data.target))
    ax.set_xlabel(say(AXES[data.cost]))


def _draw_retention(ablation: Ablation) -> Drawn:
    figure = _lay_out(ablation, _compute_all(ablation, catalogue.RETENTION.logged()))
    return figure, say(
        "Test SROCC against alignment retention: the rank correlation of cos after fine-tuning "
        "with cos before, within matched and within shuffled pairs, averaged. 1 keeps CLIP’s "
        "ordering whole; the linear probe has 1 by construction. {pairs} Small points: splits; "
        "mark: mean. {n}; no interval is drawn.",
        pairs=retention_pairs_words(ablation),
        n=count_runs(ablation),
    )


def _draw_cost(ablation: Ablation) -> Drawn:
    data = _compute_all(ablation, EPOCH_SECONDS.logged())
    trained = [f"{style.label(mode)} {n:,.0f}" for mode, n in data[0].trainable.items()]
    return _lay_out(ablation, data), say(
        "Test SROCC against seconds an epoch on this machine. Small points: splits; mark: mean. "
        "Parameters trained: {trained}. {n}; no interval is drawn.",
        trained=say("; ").join(trained) or say("not logged"),
        n=count_runs(ablation),
    )


def _compute_all(ablation: Ablation, cost: str) -> list[TradeoffData]:
    return [compute_tradeoff(ablation, target, cost) for target in ablation.targets]


def _lay_out(ablation: Ablation, data: Sequence[TradeoffData]) -> "Figure":
    figure, axes = per_target(ablation, 2.6)
    for ax, one in zip(axes, data, strict=True):
        draw_tradeoff(one, ax)
    axes[0].set_ylabel(say("test SROCC"))
    mode_legend(figure, ablation.mode_names)
    return figure


RETENTION = Page("retention", "How much of CLIP’s alignment survives?", _draw_retention)
COST = Page("cost", "What does it cost?", _draw_cost)
