"""The heads study: selection metric on the tuning pool over rate and scale."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qa_core.measures.catalogue import SROCC
from reports.evidence.ablation import Ablation
from reports.evidence.studies import Study
from reports.figures import style
from reports.figures.axes import empty
from reports.figures.layout import new_figure
from reports.figures.page import Drawn
from reports.figures.studies.page import ROW
from reports.figures.studies.variants import VariantsData, compute_variants, draw_variants
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
        empty(ax, say("no tuning pool to choose on"))
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


def draw_page(ablation: Ablation, study: Study) -> Drawn:
    """The grid on the pool; below, the best of it against the guide's setting on test."""
    figure, axes = new_figure(2, 1, 2 * ROW + 0.4, height_ratios=(3, 1))
    draw_head_grid(compute_head_grid(study), axes[0, 0])
    rows = {
        say(target): compute_variants(study, SROCC.logged(target), "").rows
        for target in ablation.targets
    }
    merged = {target: found[best] for target, found in rows.items() for best in found}
    label = say("test SROCC: best of the grid − guide")
    draw_variants(VariantsData(label, merged), axes[1, 0])
    return figure, say(
        "Linear probes over learning rate and scale, trained together. Above: selection metric, "
        "mean over the folds of the tuning pool; ring: the guide’s setting, square: the best. "
        "Below: the best against the guide’s setting on the test parts."
    )
