"""Test SROCC against alignment retention, modes and further arms together."""

from dataclasses import replace

import pandas as pd

from qa_core.measures.catalogue import RETENTION
from reports.evidence.ablation import Ablation
from reports.figures.layout import mode_legend, per_target
from reports.figures.page import Drawn, Page
from reports.figures.tradeoff import TradeoffData, compute_tradeoff, draw_tradeoff
from reports.figures.words import count_splits
from reports.language import say


def compute_retention(ablation: Ablation, target: str) -> TradeoffData:
    """Pairs (alignment retention, test SROCC) by split, of the modes and then of the arms."""
    assert ablation.arms is not None
    both = [compute_tradeoff(one, target, RETENTION.logged()) for one in (ablation, ablation.arms)]
    return replace(both[0], points=pd.concat([data.points for data in both]))


def _draw(ablation: Ablation) -> Drawn:
    assert ablation.arms is not None
    figure, axes = per_target(ablation, 3.2)
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_tradeoff(compute_retention(ablation, target), ax)
    axes[0].set_ylabel(say("test SROCC"))
    mode_legend(figure, (*ablation.mode_names, *ablation.arms.mode_names))
    return figure, say(
        "Test SROCC against alignment retention, modes and further arms. Small points: splits; "
        "mark: mean. n = {n} splits; no interval is drawn.",
        n=count_splits(ablation.arms.cells),
    )


PAGE = Page("arms_retention", "What do they keep of CLIP’s alignment?", _draw)
