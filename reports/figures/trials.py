"""Tuning trials: the objective on the pool against each knob."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from reports.evidence.ablation import Ablation
from reports.evidence.frames import select
from reports.figures import style
from reports.figures.axes import empty, log_axis, score_axes
from reports.figures.layout import mode_legend, new_figure
from reports.figures.page import Drawn, Page
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KNOBS = {
    "freeze_layers": "frozen blocks",
    "residual_scale_q": "residual scale, quality",
    "residual_scale_c": "residual scale, consistency",
    "lr": "learning rate",
}


@dataclass(frozen=True)
class TrialsData:
    """Complete trials that have this knob: mode, trial, value, objective."""

    knob: str
    points: pd.DataFrame


def compute_trials(ablation: Ablation, knob: str) -> TrialsData:
    """Objective of every complete trial against one knob."""
    done = select(ablation.trials, state="COMPLETE").dropna(subset=[knob, "objective"])
    points = done.filter(["mode", "trial", knob, "objective"]).rename(columns={knob: "value"})
    return TrialsData(knob, points)


def draw_trials(data: TrialsData, ax: "Axes") -> None:
    """One point a trial; the ringed one is trial 0, the guide's setting."""
    from matplotlib.ticker import MaxNLocator

    if data.points.empty:
        empty(ax, say("no complete trial varies {knob}", knob=KNOBS[data.knob]))
        return
    for mode, trials in data.points.groupby("mode", sort=False):
        tint, shape = style.colour(str(mode)), style.marker(str(mode))
        ax.scatter(trials["value"], trials["objective"], s=20, marker=shape, color=tint,
                   alpha=0.85, linewidths=0)  # fmt: skip
        guide = trials[trials["trial"] == 0]
        ax.scatter(guide["value"], guide["objective"], s=70, marker="o", facecolor="none",
                   edgecolor=tint, linewidths=0.9)  # fmt: skip
    if data.knob == "lr":
        log_axis(ax)
    if data.knob == "freeze_layers":
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    score_axes(ax, "xy" if "scale" in data.knob else "y")
    ax.set_xlabel(say(KNOBS[data.knob]))


def count_trials(ablation: Ablation) -> str:
    """Number of trials by how they ended, in words."""
    states = ablation.trials["state"].value_counts().to_dict()
    words = {
        "COMPLETE": say("complete"),
        "PRUNED": say("pruned"),
        "FAIL": say("failed"),
        "FAILED": say("failed"),
        "RUNNING": say("running"),
    }
    counts = [f"{n} {words.get(state, state.lower())}" for state, n in sorted(states.items())]
    return say("n: {counts}", counts=say(", ").join(counts) or say("no trials"))


def _draw(ablation: Ablation) -> Drawn:
    figure, axes = new_figure(2, 2, 4.0, sharey=True)
    for ax, knob in zip(axes.ravel(), KNOBS, strict=True):
        draw_trials(compute_trials(ablation, knob), ax)
    for ax in axes[:, 0]:
        ax.set_ylabel(say("objective on the pool"))
    if len(ablation.trials):
        mode_legend(figure, list(ablation.modes["mode"]))
    return figure, say(
        "Tuning: the objective (selection metric of the best epoch, mean over three grouped folds "
        "of the pool) against freeze depth, scales and learning rate. One mark a complete trial; "
        "ringed: trial 0, the guide’s setting. {n}; all knobs of a mode move together, so no curve "
        "is fitted and no interval drawn.",
        n=count_trials(ablation),
    )


PAGE = Page("trials", "What did tuning see?", _draw)
