"""Figures of the further arms: how they are laid out, and what their captions say."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from reports.evidence.load import Ablation
from reports.figures import style
from reports.figures.arm_gains import compute_arm_gains, draw_arm_gains
from reports.figures.captions import bar_of_splits
from reports.figures.line import ARM, compute_line, draw_line
from reports.figures.page import Page, draw_pages
from reports.figures.tradeoff import compute_tradeoff, draw_tradeoff
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_arms(ablation: Ablation, folder: Path) -> list[dict[str, str]]:
    """Write the figures of the arms as SVG; name, question and caption of each that shows any."""
    arms = ablation.arms
    if arms is None:
        for name in ARM_PAGES:  # one of an earlier build would not tell its age
            (folder / f"{name}.svg").unlink(missing_ok=True)
        return []
    pages = [_page(name, arms) for name in ARM_PAGES]
    drawn, _ = draw_pages(pages, ablation, folder)
    return drawn


def _page(name: str, arms: Ablation) -> Page:
    draw, question, caption = ARM_PAGES[name]

    def words(ablation: Ablation) -> str:
        n = str(len(set(arms.cells["split"])))
        return say(caption, n=n, bar=bar_of_splits(ablation))

    return Page(name, question, partial(draw, arms=arms), words)


def _gains(ablation: Ablation, arms: Ablation) -> "Figure":
    targets = ablation.targets
    height = 0.8 + 0.34 * len(arms.mode_names)
    figure, axes = style.new_figure(1, len(targets), height, sharey=True)
    for ax, target in zip(axes[0], targets, strict=True):
        draw_arm_gains(compute_arm_gains(ablation, target), ax)
    return figure


def _retention(ablation: Ablation, arms: Ablation) -> "Figure":
    cost = "alignment_retention"
    figure, axes = style.new_figure(1, len(ablation.targets), 3.2)
    for ax, target in zip(axes[0], ablation.targets, strict=True):
        both = [compute_tradeoff(one, target, cost) for one in (ablation, arms)]
        points = pd.concat([data.points for data in both])
        draw_tradeoff(replace(both[0], points=points), ax)
    axes[0, 0].set_ylabel(say("test SROCC"))
    style.mode_legend(figure, (*ablation.mode_names, *arms.mode_names))
    return figure


def _line(ablation: Ablation, arms: Ablation) -> "Figure":
    measures = {
        f"wise_ft_val_srocc_{target}": say("validation SROCC, {target}", target=target)
        for target in ablation.targets
    }
    measures["wise_ft_alignment_retention"] = say("alignment retention")
    figure, axes = style.new_figure(1, len(measures), 2.3)
    for ax, (measure, words) in zip(axes[0], measures.items(), strict=True):
        draw_line(compute_line(ablation, measure), ax)
        ax.set_title(words)
    return figure


Draw = Callable[..., "Figure"]
"""Of an ablation and its arms (`arms=`)."""

ARM_PAGES: dict[str, tuple[Draw, str, str]] = {
    "arms": (
        _gains,
        "What do the further arms earn?",
        "Difference of each arm from the mode that it modifies, on the same split. Points: splits; "
        "mark: mean; {bar}. n = {n} splits, each at its own values.",
    ),
    "arms_retention": (
        _retention,
        "What do they keep of CLIP’s alignment?",
        "Test SROCC against alignment retention, modes and further arms. Small points: splits; "
        "mark: mean. n = {n} splits; no interval is drawn.",
    ),
    ARM: (
        _line,
        "How far towards the fine-tuned weights?",
        "WiSE-FT: CLIP’s weights on the line from the pretrained (0 %) to the fine-tuned ones "
        "(100 %), the heads as fine-tuned. Thin: splits; thick: their median; ring: the place that "
        "validation chose, at which the arm is tested. n = {n} splits; no interval is drawn.",
    ),
}
