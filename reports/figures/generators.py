"""SROCC within each generator: what is left once generator identity is taken away."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from qa_core.measures.metrics import srocc
from qa_core.records.schema import Setting
from qa_core.targets import Target
from reports.evidence.frames import select
from reports.evidence.load import Ablation
from reports.figures import style
from reports.figures.axes import empty, score_axes
from reports.figures.layout import mode_legend, per_target
from reports.figures.page import Drawn, Page
from reports.figures.words import count_runs
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMALLEST_GROUP = 4


@dataclass(frozen=True)
class GeneratorsData:
    """Mean over splits of the SROCC within each generator: rows = generators, columns = modes."""

    target: str
    table: pd.DataFrame
    images: dict[str, int]


def compute_generators(ablation: Ablation, target: Target) -> GeneratorsData:
    """Within-generator SROCC by run, then averaged; groups under four images are left out."""
    predictions, score, mos = ablation.predictions, target.prediction, target.mos
    if not {"generator", score, mos} <= set(predictions.columns):
        return GeneratorsData(target, pd.DataFrame(), {})
    own = select(predictions, setting=Setting.GUIDE).dropna(subset=[score, mos])
    own["generator"] = own["generator"].replace("", None)  # rows without one form no group
    groups: Any = own.groupby(["generator", "mode", "run_id"])
    rows = [
        (generator, mode, srocc(group[score], group[mos]))
        for (generator, mode, _), group in groups
        if len(group) >= SMALLEST_GROUP
    ]
    long = pd.DataFrame(rows, columns=["generator", "mode", "srocc"]).dropna()
    if long.empty:
        return GeneratorsData(target, pd.DataFrame(), {})
    long["srocc"] = long["srocc"].astype(float)
    table = long.pivot_table(index="generator", columns="mode", values="srocc")
    images: Any = own.groupby("generator")["row"].nunique()
    order = table.mean(axis=1).sort_values().index
    return GeneratorsData(target, table.loc[order], {str(k): int(v) for k, v in images.items()})


def draw_generators(data: GeneratorsData, ax: "Axes") -> None:
    """One row a generator, one mark a mode."""
    if data.table.empty:
        empty(ax, say("the data set names no generator with enough test images in a split"))
        return
    rows = np.arange(len(data.table))
    ax.hlines(rows, data.table.min(axis=1), data.table.max(axis=1), color=style.RULE, lw=0.8)
    for mode in data.table.columns:
        ax.scatter(data.table[mode], rows, s=22, marker=style.marker(mode),
                   color=style.colour(mode), linewidths=0, alpha=0.9)  # fmt: skip
    names = [f"{style.plain(str(g))} ({data.images[str(g)]})" for g in data.table.index]
    ax.set_yticks(rows, names)
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.tick_params(axis="y", length=0)
    score_axes(ax, "x")
    ax.set_title(say(data.target))
    ax.set_xlabel(say("SROCC within generator"))


def _draw(ablation: Ablation) -> Drawn:
    data = [compute_generators(ablation, target) for target in ablation.targets]
    rows = max((len(one.table) for one in data), default=0)
    figure, axes = per_target(ablation, max(1.6, 0.95 + 0.2 * rows))
    for ax, one in zip(axes, data, strict=True):
        draw_generators(one, ax)
    if rows:
        mode_legend(figure, ablation.mode_names)
    return figure, say(
        "SROCC within each generator: pooled rank correlation is partly generator identity, this "
        "is what remains. Mark: mean over splits; beside a name: its images that were ever tested. "
        "{n}; no interval is drawn.",
        n=count_runs(ablation),
    )


PAGE = Page("generators", "What remains within a generator?", _draw)
