"""Test SROCC against what it costs: alignment given up, or seconds an epoch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.evidence.load import Ablation
from reports.figures import style
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXES = {
    "alignment_retention": "alignment retention",
    "seconds_per_epoch": "seconds an epoch",
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
            "srocc": ablation.by_split(mode, f"test_srocc_{target}"),
        }
        frames.append(pd.DataFrame(columns).dropna().assign(mode=mode))
        parameters = ablation.by_split(mode, "trainable_parameters")
        if len(parameters):
            trainable[mode] = float(parameters.mean())
    points = pd.concat(frames) if frames else pd.DataFrame(columns=pd.Index(["cost", "mode"]))
    return TradeoffData(target, cost, points, trainable)


def draw_tradeoff(data: TradeoffData, ax: "Axes") -> None:
    """Faint points are splits, the large mark a mode's mean."""
    if data.points.empty:
        style.empty(ax, say("{measure} is undefined in every run", measure=AXES[data.cost]))
        return
    for mode, runs in data.points.groupby("mode", sort=False):
        tint, shape = style.colour(str(mode)), style.marker(str(mode))
        ax.scatter(runs["cost"], runs["srocc"], s=9, color=tint, alpha=0.35, linewidths=0)
        ax.scatter([runs["cost"].mean()], [runs["srocc"].mean()], s=42, marker=shape, color=tint,
                   edgecolor="white", linewidths=0.6, zorder=3)  # fmt: skip
    style.score_axes(ax, "y" if data.cost == "seconds_per_epoch" else "xy")
    costs = data.points["cost"].to_numpy(float)
    if data.cost == "seconds_per_epoch" and costs.min() > 0 and np.ptp(np.log10(costs)) > 0.7:
        style.log_axis(ax)
    ax.set_title(say(data.target))
    ax.set_xlabel(say(AXES[data.cost]))
