"""The heads study: selection metric on the tuning pool over rate and scale."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reports.evidence.studies import Study
from reports.figures import style
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class HeadGrid:
    """Scores (scales, rates) on the pool, NaN where a member diverged, and two marked settings."""

    rates: list[float]
    scales: list[float]
    scores: np.ndarray
    guide: tuple[float, float]
    best: tuple[float, float]


def compute_head_grid(study: Study) -> HeadGrid | None:
    """The grid of a study, which lists the guide's setting first; None where it has no pool."""
    if not study.grid:
        return None
    rates = sorted({rate for rate, _, _ in study.grid})
    scales = sorted({scale for _, scale, _ in study.grid})
    scores = np.full((len(scales), len(rates)), np.nan)
    for rate, scale, score in study.grid:
        scores[scales.index(scale), rates.index(rate)] = np.nan if score is None else score
    row, column = np.unravel_index(int(np.nanargmax(scores)), scores.shape)
    return HeadGrid(rates, scales, scores, study.grid[0][:2], (rates[column], scales[row]))


def draw_head_grid(data: HeadGrid | None, ax: "Axes") -> None:
    """A cell a setting with its score; ring: the guide's, square: the best."""
    if data is None:
        style.empty(ax, say("no tuning pool to choose on"))
        return
    ax.imshow(data.scores, cmap="Greys", origin="lower", aspect="auto", alpha=0.35)
    for (row, column), score in np.ndenumerate(data.scores):
        text = "–" if np.isnan(score) else style.format_score(score)
        ax.text(column, row, text, ha="center", va="center", fontsize=7, color=style.INK)
    for (rate, scale), marker in ((data.guide, "o"), (data.best, "s")):
        x, y = data.rates.index(rate), data.scales.index(scale)
        ax.scatter([x], [y], s=420, marker=marker, fc="none", ec=style.colour("linear_probe"))
    ax.set_xticks(range(len(data.rates)), [f"{rate:g}" for rate in data.rates])
    ax.set_yticks(range(len(data.scales)), [f"{scale:g}" for scale in data.scales])
    ax.tick_params(length=0)
    ax.set_xlabel(say("learning rate"))
    ax.set_ylabel(say("residual scale"))
