"""The report's figures: which are drawn, how they are laid out, and what each caption says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reports import style
from reports.figures.base_delta import compute_base_delta, draw_base_delta
from reports.figures.curves import compute_curves, draw_curves
from reports.figures.gap import compute_gap, draw_gap
from reports.figures.generators import compute_generators, draw_generators
from reports.figures.paired import compute_paired, draw_paired
from reports.figures.saturation import (
    compute_delta,
    compute_saturation,
    draw_delta,
    draw_saturation,
)
from reports.figures.scatter import compute_scatter, draw_scatter
from reports.figures.strips import compute_strips, draw_strips
from reports.figures.tradeoff import compute_tradeoff, draw_tradeoff
from reports.figures.trials import KNOBS, compute_trials, draw_trials
from reports.frames import select
from reports.load import Ablation
from reports.study_pages import draw_studies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NB = "95 % Nadeau–Bengio interval, unadjusted"
_legend = style.mode_legend


@dataclass(frozen=True)
class Page:
    """One figure: its file name, the question it answers, how to draw it, and its caption."""

    name: str
    question: str
    draw: Callable[[Ablation], "Figure"]
    caption: Callable[[Ablation], str]


def draw_all(ablation: Ablation, folder: Path) -> list[dict[str, str]]:
    """Write every figure as SVG; returns name, question and caption of each, in order."""
    drawn: list[dict[str, str]] = []
    for page in PAGES:
        style.save(page.draw(ablation), folder / f"{page.name}.svg")
        drawn.append(
            {"name": page.name, "question": page.question, "caption": page.caption(ablation)}
        )
    for study, figure, caption in draw_studies(ablation):
        name = f"study_{study.name}"
        style.save(figure, folder / f"{name}.svg")
        drawn.append({"name": name, "question": study.question, "caption": caption})
    return drawn


def _per_target(
    ablation: Ablation, height: float, sharey: bool = False
) -> "tuple[Figure, Sequence]":
    """A row of axes, one a target."""
    figure, axes = style.new_figure(1, len(ablation.targets), height, sharey=sharey)
    return figure, axes[0]


def _n(ablation: Ablation) -> str:
    """Number of runs behind a figure at the guide's setting, in words."""
    cells = ablation.settled("guide")
    runs, splits = len(cells), len(set(cells["split"]))
    return f"n = {runs} runs ({splits} splits), the guide's setting"


def _strips(ablation: Ablation) -> "Figure":
    rows = len(ablation.targets)
    tuned = len(ablation.modes) - len(ablation.modes_kept)
    height = rows * (0.75 + 0.36 * (len(ablation.mode_names) + tuned))
    figure, axes = style.new_figure(rows, 1, height)
    for ax, target in zip(axes[:, 0], ablation.targets, strict=True):
        draw_strips(compute_strips(ablation, target), ax)
    return figure


def _strips_caption(ablation: Ablation) -> str:
    return (
        "Test SROCC. Small points: splits, each one test part of unseen prompts; mark: mean; bar: "
        f"{_NB}. Filled: the guide's setting; hollow: the tuned one, where tuning moved it. "
        f"Vertical lines: means of the reference rows. {_n(ablation)}."
    )


def _paired(ablation: Ablation) -> "Figure":
    figure, axes = _per_target(ablation, 2.5)
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_paired(compute_paired(ablation, target), ax)
    axes[0].set_ylabel("test SROCC − traditional")
    return figure


def _paired_caption(ablation: Ablation) -> str:
    return (
        "Difference from the traditional mode on the same split. Points: splits; mark: mean; bar: "
        f"{_NB}. {_n(ablation)}."
    )


def _curves(ablation: Ablation) -> "Figure":
    modes = ablation.mode_names
    figure, axes = style.new_figure(
        len(ablation.targets), max(len(modes), 1), 1.75 * len(ablation.targets) + 0.3,
        sharex=True, sharey="row",
    )  # fmt: skip
    for row, target in enumerate(ablation.targets):
        for column, mode in enumerate(modes):
            draw_curves(compute_curves(ablation, mode, target), axes[row, column])
        axes[row, 0].set_ylabel(f"SROCC, {target}")
    for column, mode in enumerate(modes):
        axes[0, column].set_title(style.short(mode), color=style.colour(mode))
        axes[-1, column].set_xlabel("epoch")
    return figure


def _curves_caption(ablation: Ablation) -> str:
    return (
        "SROCC by epoch on validation (colour, solid) and on a fixed train subset of the same "
        "size (grey, dashed), both in eval mode; epoch 0 is before training. Line: median over "
        f"runs; band: their interquartile range. {_n(ablation)}."
    )


def _gap(ablation: Ablation) -> "Figure":
    figure, axes = _per_target(ablation, 2.7, sharey=True)
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_gap(compute_gap(ablation, target), ax)
    axes[0].set_ylabel("train − validation SROCC")
    _legend(figure, ablation.mode_names)
    return figure


def _gap_caption(ablation: Ablation) -> str:
    return (
        "Train–validation gap against validation SROCC, one mark a run, at the best checkpoint; "
        "the tail of a mark leads to the gap at the last epoch, which selection has not shrunk. "
        f"Dashed: the guide's limit. {_n(ablation)}; no interval is drawn."
    )


def _saturation(ablation: Ablation) -> "Figure":
    columns = len(ablation.targets)
    figure, axes = style.new_figure(2, columns, 4.4)
    for column, target in enumerate(ablation.targets):
        draw_saturation(compute_saturation(ablation, target), axes[0, column])
        draw_delta(compute_delta(ablation, target), axes[1, column])
    axes[0, 0].set_ylabel("share with |delta| > .95")
    axes[1, 0].set_ylabel("share of test images")
    modes = [m for m in ablation.mode_names if m != "traditional"]
    _legend(figure, modes)
    return figure


def _saturation_caption(ablation: Ablation) -> str:
    return (
        "Does the bound bind? Above: share of samples whose correction lies within 5 % of its "
        "bound, on validation by epoch (line: median over runs; band: their range), and at the "
        "right on test at the best checkpoint, one mark a split; dashed: 10 %, above which the "
        "scale may be too small. Below: distribution of |delta| over the test images of all "
        f"splits. Undefined for the traditional mode, which has no bound. {_n(ablation)}."
    )


def _base_delta(ablation: Ablation) -> "Figure":
    figure, axes = _per_target(ablation, 2.4)
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_base_delta(compute_base_delta(ablation, target), ax)
    axes[0].set_ylabel("test SROCC")
    return figure


def _base_delta_caption(ablation: Ablation) -> str:
    return (
        "What the correction earns: left end of each line the base alone, right end base + delta. "
        f"Thin: splits; thick: their mean. {_n(ablation)}; no interval is drawn."
    )


def _retention(ablation: Ablation) -> "Figure":
    return _tradeoff(ablation, "alignment_retention")


def _cost(ablation: Ablation) -> "Figure":
    return _tradeoff(ablation, "seconds_per_epoch")


def _tradeoff(ablation: Ablation, cost: str) -> "Figure":
    figure, axes = _per_target(ablation, 2.6)
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_tradeoff(compute_tradeoff(ablation, target, cost), ax)
    axes[0].set_ylabel("test SROCC")
    _legend(figure, ablation.mode_names)
    return figure


def _retention_caption(ablation: Ablation) -> str:
    return (
        "Test SROCC against alignment retention: the rank correlation of cos after fine-tuning "
        "with cos before, within matched and within shuffled pairs, averaged. 1 keeps CLIP's "
        "ordering whole; the linear probe has 1 by construction. Small points: splits; mark: "
        f"mean. {_n(ablation)}; no interval is drawn."
    )


def _cost_caption(ablation: Ablation) -> str:
    data = compute_tradeoff(ablation, ablation.targets[0], "seconds_per_epoch")
    trained = "; ".join(f"{style.label(m)} {v:,.0f}" for m, v in data.trainable.items())
    return (
        "Test SROCC against seconds an epoch on this machine. Small points: splits; mark: mean. "
        f"Parameters trained: {trained or 'not logged'}. {_n(ablation)}; no interval is drawn."
    )


def _trials(ablation: Ablation) -> "Figure":
    figure, axes = style.new_figure(2, 2, 4.0, sharey=True)
    for ax, knob in zip(axes.ravel(), KNOBS, strict=True):
        draw_trials(compute_trials(ablation, knob), ax)
    for ax in axes[:, 0]:
        ax.set_ylabel("objective on the pool")
    if len(ablation.trials):
        _legend(figure, list(ablation.modes["mode"]))
    return figure


def _trials_caption(ablation: Ablation) -> str:
    states = ablation.trials["state"].value_counts().to_dict()
    counts = ", ".join(f"{v} {k.lower()}" for k, v in sorted(states.items())) or "no trials"
    return (
        "Tuning: the objective (selection metric of the best epoch, mean over three grouped folds "
        "of the pool) against freeze depth, scales and learning rate. One mark a complete trial; "
        f"ringed: trial 0, the guide's setting. n: {counts}; all knobs of a mode move together, "
        "so no curve is fitted and no interval drawn."
    )


def _scatter(ablation: Ablation) -> "Figure":
    modes = ablation.mode_names
    figure, axes = style.new_figure(
        len(ablation.targets), max(len(modes), 1), 1.75 * len(ablation.targets) + 0.2,
        sharex=True, sharey=True,
    )  # fmt: skip
    for row, target in enumerate(ablation.targets):
        for column, mode in enumerate(modes):
            draw_scatter(compute_scatter(ablation, mode, target), axes[row, column])
        axes[row, 0].set_ylabel(f"predicted {target}")
    for column, mode in enumerate(modes):
        axes[0, column].set_title(style.short(mode), color=style.colour(mode))
        axes[-1, column].set_xlabel("MOS")
    return figure


def _scatter_caption(ablation: Ablation) -> str:
    table = ablation.predictions
    images = len(set(select(table, setting="guide")["row"])) if len(table) else 0
    return (
        "Predicted against mean opinion score, one point a test image, predictions averaged over "
        f"the splits that tested it; line: equality. n = {images} images, the guide's setting; "
        "no band."
    )


def _generators(ablation: Ablation) -> "Figure":
    data = [compute_generators(ablation, target) for target in ablation.targets]
    rows = max((len(d.table) for d in data), default=0)
    figure, axes = _per_target(ablation, max(1.6, 0.95 + 0.2 * rows))
    for ax, one in zip(axes, data, strict=True):
        draw_generators(one, ax)
    if rows:
        _legend(figure, ablation.mode_names)
    return figure


def _generators_caption(ablation: Ablation) -> str:
    return (
        "SROCC within each generator: pooled rank correlation is partly generator identity, this "
        "is what remains. Mark: mean over splits; beside a name: its images that were ever tested. "
        f"{_n(ablation)}; no interval is drawn."
    )


PAGES: tuple[Page, ...] = (
    Page("srocc", "How well does each mode rank unseen prompts?", _strips, _strips_caption),
    Page("paired", "How far is each mode from direct prediction?", _paired, _paired_caption),
    Page("curves", "How does each mode learn?", _curves, _curves_caption),
    Page("gap", "Does it overfit?", _gap, _gap_caption),
    Page("saturation", "Does the residual's bound bind?", _saturation, _saturation_caption),
    Page("base_delta", "What does the correction earn?", _base_delta, _base_delta_caption),
    Page("retention", "How much of CLIP's alignment survives?", _retention, _retention_caption),
    Page("cost", "What does it cost?", _cost, _cost_caption),
    Page("generators", "What remains within a generator?", _generators, _generators_caption),
    Page("trials", "What did tuning see?", _trials, _trials_caption),
    Page("scatter", "What do the predictions look like?", _scatter, _scatter_caption),
)
