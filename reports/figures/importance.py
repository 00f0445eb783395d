"""How a search went on, and which knobs mattered within each mode."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.evidence.ablation import Ablation
from reports.evidence.frames import select
from reports.figures import style
from reports.figures.axes import empty, score_axes
from reports.figures.layout import mode_legend, new_figure
from reports.figures.page import Drawn, Page
from reports.figures.trials import KNOBS, count_trials
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST_TRIALS = 6
"""Complete trials of a mode below which an importance would be noise."""


@dataclass(frozen=True)
class HistoryData:
    """Complete trials by mode: index trial, columns objective and best (so far)."""

    by_mode: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class ImportanceData:
    """Importance of each knob within each mode, in [0, 1], summing to 1: rows knobs."""

    by_mode: dict[str, pd.Series]


def compute_history(ablation: Ablation) -> HistoryData:
    """Objective of every complete trial in the order asked, and the best up to it."""
    by_mode: dict[str, pd.DataFrame] = {}
    for mode in ablation.modes["mode"]:
        done = select(ablation.trials, mode=mode, state="COMPLETE").dropna(subset=["objective"])
        if len(done):
            objective: Any = done.sort_values("trial").set_index("trial")["objective"]
            by_mode[mode] = pd.DataFrame({"objective": objective, "best": objective.cummax()})
    return HistoryData(by_mode)


def draw_history(data: HistoryData, ax: "Axes") -> None:
    """Marks are trials, the step line the best so far."""
    from matplotlib.ticker import MaxNLocator

    if not data.by_mode:
        empty(ax, say("nothing was tuned"))
        return
    for mode, trials in data.by_mode.items():
        tint = style.colour(mode)
        ax.step(trials.index, trials["best"], where="post", color=tint, lw=1.1)
        ax.scatter(trials.index, trials["objective"], s=14, marker=style.marker(mode), color=tint,
                   alpha=0.6, linewidths=0)  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel(say("trial"))
    ax.set_ylabel(say("objective on the pool"))
    score_axes(ax, "y")


def compute_importance(ablation: Ablation) -> ImportanceData:
    """PED-ANOVA within each mode (Watanabe, Bansal and Hutter 2023), as Optuna computes it.

    A knob that not every mode has would count as unimportant over all modes, so modes stand
    apart. The ranges are those of the trials.
    """
    by_mode: dict[str, pd.Series] = {}
    for mode in ablation.modes["mode"]:
        done: Any = select(ablation.trials, mode=mode, state="COMPLETE")
        done = done.dropna(subset=["objective"])
        varied = [knob for knob in KNOBS if done[knob].nunique(dropna=False) > 1]  # noqa: PD101
        if len(done) >= FEWEST_TRIALS and varied:
            by_mode[mode] = _ped_anova(done[varied], done["objective"])
    return ImportanceData(by_mode)


def _ped_anova(values: pd.DataFrame, objective: pd.Series) -> pd.Series:
    from optuna import create_study, create_trial, logging
    from optuna.distributions import FloatDistribution
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    logging.set_verbosity(logging.ERROR)
    ranges: Any = {
        knob: FloatDistribution(float(column.min()), float(column.max()), log=knob == "lr")
        for knob, column in values.items()
    }
    study = create_study(direction="maximize")
    for (_, row), value in zip(values.iterrows(), objective, strict=True):
        trial = create_trial(params=row.to_dict(), distributions=ranges, value=float(value))
        study.add_trial(trial)
    return pd.Series(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))


def draw_importance(data: ImportanceData, ax: "Axes") -> None:
    """Rows are knobs, one mark a mode that has it."""
    if not data.by_mode:
        reason = say("no mode has {n} complete trials", n=str(FEWEST_TRIALS))
        empty(ax, reason)
        return
    present = [knob for knob in KNOBS if any(knob in found for found in data.by_mode.values())]
    offsets = np.linspace(-0.18, 0.18, len(data.by_mode)) if len(data.by_mode) > 1 else [0.0]
    for offset, (mode, found) in zip(offsets, data.by_mode.items(), strict=True):
        rows = [present.index(str(knob)) + offset for knob in found.index]
        ax.scatter(found, rows, s=26, marker=style.marker(mode), color=style.colour(mode),
                   linewidths=0)  # fmt: skip
    ax.set_yticks(range(len(present)), [say(KNOBS[knob]) for knob in present])
    ax.set_ylim(len(present) - 0.5, -0.5)
    ax.set_xlim(-0.03, 1.03)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color=style.RULE, lw=0.4)
    score_axes(ax, "x")
    ax.set_xlabel(say("importance within the mode"))


def _draw(ablation: Ablation) -> Drawn:
    figure, axes = new_figure(1, 2, 2.5)
    draw_history(compute_history(ablation), axes[0, 0])
    draw_importance(compute_importance(ablation), axes[0, 1])
    if len(ablation.trials):
        mode_legend(figure, list(ablation.modes["mode"]))
    return figure, say(
        "Left: the objective of each complete trial (mark) in the order asked, and the best so far "
        "(line). Right: importance of each knob within its mode by PED-ANOVA, summing to 1; with "
        "so few trials a hint, not a finding. {n}; no interval is drawn.",
        n=count_trials(ablation),
    )


PAGE = Page("history", "How did the search go?", _draw)
