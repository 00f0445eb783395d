"""WiSE-FT: measures on the line from the pretrained to the fine-tuned weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Setting
from reports.evidence.ablation import Ablation
from reports.evidence.frames import select
from reports.figures import style
from reports.figures.axes import empty, score_axes
from reports.figures.layout import new_figure
from reports.figures.page import Drawn, Page
from reports.figures.words import count_splits
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ARM = "wise_ft"


@dataclass(frozen=True)
class LineData:
    """By per cent of the way, one column a split, and where each split chose to stay."""

    table: pd.DataFrame
    chosen: dict[int, float]


def compute_line(ablation: Ablation, measure: str) -> LineData:
    """A measure on the line by split, at the arm's own values."""
    arms = ablation.arms
    if arms is None or measure not in arms.lines:
        return LineData(pd.DataFrame(), {})
    own = select(arms.lines, mode=ARM, setting=Setting.GUIDE).dropna(subset=[measure])
    table = own.pivot_table(index="percent", columns="split", values=measure)
    chosen = arms.by_split(ARM, "wise_ft_percent")
    return LineData(table, {int(split): float(at) for split, at in chosen.items()})  # pyright: ignore[reportArgumentType]


def draw_line(data: LineData, ax: "Axes") -> None:
    """A thin line a split, a ring where it chose; thick: the median."""
    if data.table.empty:
        empty(ax, say("no run interpolated weights with this measure"))
        return
    tint = style.colour(ARM)
    for split in data.table.columns:
        own = data.table[split].dropna()
        ax.plot(own.index, own, color=tint, lw=0.6, alpha=0.45)
        at = data.chosen.get(int(split))
        if at is not None and at in own.index:
            ax.scatter([at], [own.loc[at]], s=20, facecolor="white", edgecolor=tint, zorder=3)
    median = data.table.median(axis=1)
    ax.plot(median.index, median, color=tint, lw=1.8)
    score_axes(ax, "y")
    ax.set_xlabel(say("% of the way to the fine-tuned weights"))


def _draw(ablation: Ablation) -> Drawn:
    assert ablation.arms is not None
    measures = {
        f"wise_ft_{SROCC.curve(target)}": say("validation SROCC, {target}", target=target)
        for target in ablation.targets
    }
    measures["wise_ft_alignment_retention"] = say("alignment retention")
    figure, axes = new_figure(1, len(measures), 2.3)
    for ax, (measure, words) in zip(axes[0], measures.items(), strict=True):
        draw_line(compute_line(ablation, measure), ax)
        ax.set_title(words)
    return figure, say(
        "WiSE-FT: CLIP’s weights on the line from the pretrained (0 %) to the fine-tuned ones "
        "(100 %), the heads as fine-tuned. Thin: splits; thick: their median; ring: the place that "
        "validation chose, at which the arm is tested. n = {n} splits; no interval is drawn.",
        n=count_splits(ablation.arms.cells),
    )


PAGE = Page(ARM, "How far towards the fine-tuned weights?", _draw)
