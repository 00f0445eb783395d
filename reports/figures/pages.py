"""The report's figures: which are drawn and how they are laid out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qa_core.targets import Target
from reports.evidence.load import Ablation
from reports.figures import captions, style
from reports.figures.base_delta import compute_base_delta, draw_base_delta
from reports.figures.curves import compute_curves, draw_curves
from reports.figures.deciles import compute_deciles, draw_deciles
from reports.figures.gap import compute_gap, draw_gap
from reports.figures.generators import compute_generators, draw_generators
from reports.figures.importance import (
    compute_history,
    compute_importance,
    draw_history,
    draw_importance,
)
from reports.figures.page import Page, draw_pages
from reports.figures.paired import compute_paired, draw_paired, draw_slopes
from reports.figures.saturation import (
    compute_delta,
    compute_saturation,
    draw_delta,
    draw_saturation,
)
from reports.figures.scatter import compute_scatter, draw_scatter
from reports.figures.strips import compute_strips, draw_strips
from reports.figures.study_pages import study_pages
from reports.figures.tradeoff import compute_tradeoff, draw_tradeoff
from reports.figures.trials import KNOBS, compute_trials, draw_trials
from reports.figures.wins import compute_wins, draw_wins
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_all(ablation: Ablation, folder: Path) -> tuple[list[dict[str, str]], list[list[str]]]:
    """Write every figure but those of the arms; returns what `draw_pages` does."""
    return draw_pages((*PAGES, *study_pages(ablation)), ablation, folder)


def _per_target(
    ablation: Ablation, height: float, sharey: bool = False
) -> "tuple[Figure, Sequence]":
    """A row of axes, one a target."""
    figure, axes = style.new_figure(1, len(ablation.targets), height, sharey=sharey)
    return figure, axes[0]


def _per_target_and_mode(
    ablation: Ablation, extra: float, sharey: bool | str
) -> "tuple[Figure, list[tuple[Target, str, Axes, bool]]]":
    """Axes of each target and mode, at most four in a row, titled with the mode.

    Returns:
        The figure; target, mode, axes, and whether it stands first in its row.
    """
    modes = ablation.mode_names
    chunks = [modes[k : k + style.MODES_A_ROW] for k in range(0, len(modes), style.MODES_A_ROW)]
    rows = [(target, chunk) for target in ablation.targets for chunk in chunks or [()]]
    columns = max((len(chunk) for chunk in chunks), default=1)
    height = min(1.75 * len(rows) + extra, style.PAGE_HEIGHT)
    figure, axes = style.new_figure(len(rows), columns, height, sharex=True, sharey=sharey)
    cells: list[tuple[Target, str, Axes, bool]] = []
    for row, (target, chunk) in enumerate(rows):
        for column in range(columns):
            ax = axes[row, column]
            if column >= len(chunk):
                ax.set_visible(False)
                axes[row - 1, column].tick_params(labelbottom=True)
                continue
            if row < max(len(chunks), 1) or len(chunks) > 1:
                ax.set_title(style.short(chunk[column]), color=style.colour(chunk[column]))
            cells.append((target, chunk[column], ax, column == 0))
    return figure, cells


def _strips(ablation: Ablation) -> "Figure":
    rows = len(ablation.targets)
    tuned = len(ablation.modes) - len(ablation.modes_kept)
    height = min(rows * (0.75 + 0.36 * (len(ablation.mode_names) + tuned)), style.PAGE_HEIGHT)
    figure, axes = style.new_figure(rows, 1, height)
    for ax, target in zip(axes[:, 0], ablation.targets, strict=True):
        draw_strips(compute_strips(ablation, target), ax)
    return figure


def _paired(ablation: Ablation) -> "Figure":
    figure, axes = style.new_figure(2, len(ablation.targets), 4.4, sharex="col")
    for column, target in enumerate(ablation.targets):
        data = compute_paired(ablation, target)
        draw_slopes(data, axes[0, column])
        draw_paired(data, axes[1, column])
    axes[0, 0].set_ylabel(say("test SROCC"))
    axes[1, 0].set_ylabel(say("test SROCC − traditional"))
    return figure


def _curves(ablation: Ablation) -> "Figure":
    figure, cells = _per_target_and_mode(ablation, 0.3, sharey="row")
    for target, mode, ax, first in cells:
        draw_curves(compute_curves(ablation, mode, target), ax)
        if first:
            ax.set_ylabel(say("SROCC, {target}", target=target))
    figure.supxlabel(say("epoch"), fontsize="medium")
    return figure


def _gap(ablation: Ablation) -> "Figure":
    figure, axes = _per_target(ablation, 2.7, sharey=True)
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_gap(compute_gap(ablation, target), ax)
    axes[0].set_ylabel(say("train − validation SROCC"))
    style.mode_legend(figure, ablation.mode_names)
    return figure


def _saturation(ablation: Ablation) -> "Figure":
    columns = len(ablation.targets)
    figure, axes = style.new_figure(2, columns, 4.4)
    shown: set[str] = set()
    for column, target in enumerate(ablation.targets):
        saturation, delta = compute_saturation(ablation, target), compute_delta(ablation, target)
        draw_saturation(saturation, axes[0, column])
        draw_delta(delta, axes[1, column])
        shown |= saturation.at_end.keys() | delta.shares.keys()
    axes[0, 0].set_ylabel(say("share with |delta| > .95"))
    axes[1, 0].set_ylabel(say("share of test images"))
    style.mode_legend(figure, [mode for mode in ablation.mode_names if mode in shown])
    return figure


def _base_delta(ablation: Ablation) -> "Figure":
    figure, axes = _per_target(ablation, 2.4)
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_base_delta(compute_base_delta(ablation, target), ax)
    axes[0].set_ylabel(say("test SROCC"))
    return figure


def _retention(ablation: Ablation) -> "Figure":
    return _tradeoff(ablation, "alignment_retention")


def _cost(ablation: Ablation) -> "Figure":
    return _tradeoff(ablation, "seconds_per_epoch")


def _tradeoff(ablation: Ablation, cost: str) -> "Figure":
    figure, axes = _per_target(ablation, 2.6)
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_tradeoff(compute_tradeoff(ablation, target, cost), ax)
    axes[0].set_ylabel(say("test SROCC"))
    style.mode_legend(figure, ablation.mode_names)
    return figure


def _trials(ablation: Ablation) -> "Figure":
    figure, axes = style.new_figure(2, 2, 4.0, sharey=True)
    for ax, knob in zip(axes.ravel(), KNOBS, strict=True):
        draw_trials(compute_trials(ablation, knob), ax)
    for ax in axes[:, 0]:
        ax.set_ylabel(say("objective on the pool"))
    if len(ablation.trials):
        style.mode_legend(figure, list(ablation.modes["mode"]))
    return figure


def _scatter(ablation: Ablation) -> "Figure":
    figure, cells = _per_target_and_mode(ablation, 0.2, sharey=True)
    for target, mode, ax, first in cells:
        draw_scatter(compute_scatter(ablation, mode, target), ax)
        if first:
            ax.set_ylabel(say("predicted {target}", target=target))
    figure.supxlabel(say("MOS"), fontsize="medium")
    return figure


def _generators(ablation: Ablation) -> "Figure":
    data = [compute_generators(ablation, target) for target in ablation.targets]
    rows = max((len(d.table) for d in data), default=0)
    figure, axes = _per_target(ablation, max(1.6, 0.95 + 0.2 * rows))
    for ax, one in zip(axes, data, strict=True):
        draw_generators(one, ax)
    if rows:
        style.mode_legend(figure, ablation.mode_names)
    return figure


def _wins(ablation: Ablation) -> "Figure":
    figure, axes = _per_target(ablation, max(2.6, 0.9 + 0.22 * len(ablation.mode_names)))
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_wins(compute_wins(ablation, target), ax)
    return figure


def _history(ablation: Ablation) -> "Figure":
    figure, axes = style.new_figure(1, 2, 2.5)
    draw_history(compute_history(ablation), axes[0, 0])
    draw_importance(compute_importance(ablation), axes[0, 1])
    if len(ablation.trials):
        style.mode_legend(figure, list(ablation.modes["mode"]))
    return figure


def _deciles(ablation: Ablation) -> "Figure":
    figure, axes = style.new_figure(2, len(ablation.targets), 3.9, sharex=True, sharey="row")
    for column, target in enumerate(ablation.targets):
        data = compute_deciles(ablation, target)
        for row, kind in enumerate(("bias", "size")):
            draw_deciles(data, kind, axes[row, column])
    axes[1, 0].set_ylim(0, max(axes[1, 0].get_ylim()[1], 0.1))
    axes[0, 0].set_ylabel(say("prediction − MOS"))
    axes[1, 0].set_ylabel(say("|prediction − MOS|"))
    style.mode_legend(figure, ablation.mode_names)
    return figure


PAGES: tuple[Page, ...] = (
    Page("srocc", "How well does each mode rank unseen prompts?", _strips, captions.strips),
    Page("paired", "How far is each mode from direct prediction?", _paired, captions.paired),
    Page("wins", "Who wins how many splits?", _wins, captions.wins),
    Page("curves", "How does each mode learn?", _curves, captions.curves),
    Page("gap", "Does it overfit?", _gap, captions.gap),
    Page("saturation", "Does the residual’s bound bind?", _saturation, captions.saturation),
    Page("base_delta", "What does the correction earn?", _base_delta, captions.base_delta),
    Page("retention", "How much of CLIP’s alignment survives?", _retention, captions.retention),
    Page("cost", "What does it cost?", _cost, captions.cost),
    Page("scatter", "What do the predictions look like?", _scatter, captions.scatter),
    Page("deciles", "Which images are scored too kindly?", _deciles, captions.deciles),
    Page("generators", "What remains within a generator?", _generators, captions.generators),
    Page("history", "How did the search go?", _history, captions.history),
    Page("trials", "What did tuning see?", _trials, captions.trials),
)
