"""Which mode beats which, and in how many splits: a matrix that describes these splits."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qa_core.measures.catalogue import SROCC
from reports.evidence.ablation import Ablation
from reports.figures import style
from reports.figures.axes import empty, name_columns
from reports.figures.layout import MODES_A_ROW, per_target
from reports.figures.page import Drawn, Page
from reports.figures.words import count_runs
from reports.language import say
from reports.statistics import FloatArray, share_of_splits_won

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class WinsData:
    """Share of splits in which the row's mode is ahead of the column's, a tie counting half.

    Attributes:
        target: The target.
        modes: Names of rows and columns.
        shares: In [0, 1], (n_modes, n_modes); NaN where no split has both, and on the diagonal.
    """

    target: str
    modes: tuple[str, ...]
    shares: FloatArray


def compute_wins(ablation: Ablation, target: str) -> WinsData:
    """Paired by split, test SROCC at the guide's setting."""
    modes = ablation.mode_names
    scores = {mode: ablation.by_split(mode, SROCC.logged(target)) for mode in modes}
    shares = np.full((len(modes), len(modes)), np.nan)
    for i, row in enumerate(modes):
        for j, column in enumerate(modes):
            both = scores[row].index.intersection(scores[column].index)
            if i != j and len(both):
                shares[i, j] = share_of_splits_won(scores[row].loc[both], scores[column].loc[both])
    return WinsData(target, modes, shares)


def draw_wins(data: WinsData, ax: "Axes") -> None:
    """Squares from orange (never ahead) over white (half) to blue (always), with the share."""
    from matplotlib.colors import LinearSegmentedColormap

    if not np.isfinite(data.shares).any():
        empty(ax, say("needs two modes on the same split"))
        return
    ends = (style.colour("traditional"), "white", style.colour("residual"))
    ax.imshow(
        data.shares, cmap=LinearSegmentedColormap.from_list("wins", ends), vmin=0, vmax=1, alpha=0.7
    )
    few = len(data.modes) <= MODES_A_ROW
    for (i, j), share in np.ndenumerate(data.shares):
        if np.isfinite(share):
            words = f"{100 * share:.0f} %" if few else f"{100 * share:.0f}"
            ax.text(j, i, words, ha="center", va="center", fontsize=8.5 if few else 7)
    ax.set_yticks(range(len(data.modes)), [style.short(mode) for mode in data.modes])
    name_columns(ax, data.modes, narrow=True)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(say(data.target))


def _draw(ablation: Ablation) -> Drawn:
    figure, axes = per_target(ablation, max(2.8, 0.9 + 0.22 * len(ablation.mode_names)))
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_wins(compute_wins(ablation, target), ax)
    return figure, say(
        "Share of splits in which the row’s mode has the higher test SROCC than the column’s, a "
        "tie counting half. It describes these splits, which overlap: no verdict rests on it. {n}; "
        "no interval is drawn.",
        n=count_runs(ablation),
    )


PAGE = Page("wins", "Who wins how many splits?", _draw)
