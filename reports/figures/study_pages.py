"""Figures of the designed studies: how each is laid out, and what its caption says."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from reports.evidence.frames import mode_rank
from reports.evidence.load import Ablation
from reports.evidence.studies import Study
from reports.figures import style
from reports.figures.head_grid import compute_head_grid, draw_head_grid
from reports.figures.knob import (
    Curve,
    KnobData,
    compute_by_mode,
    compute_curve,
    draw_knob,
)
from reports.figures.page import Page
from reports.figures.variants import VariantsData, compute_variants, draw_variants
from reports.language import say
from reports.verdicts.study_contrasts import BAND

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW = 2.15  # inches


def draw_depth(ablation: Ablation, study: Study) -> "Figure":
    """SROCC against freeze depth; the band is the guide’s advice."""
    depth = int(ablation.params["image_depth"])
    figure, axes = style.new_figure(1, len(ablation.targets), _ROW + 0.2)
    for ax, target in zip(axes[0], ablation.targets, strict=True):
        measure, band = f"test_srocc_{target}", (BAND[0] * depth, BAND[1] * depth)
        draw_knob(compute_by_mode(study, "freeze_layers", measure, target, band), ax)
    axes[0, 0].set_ylabel(say("test SROCC"))
    return figure


def draw_scale(ablation: Ablation, study: Study) -> "Figure":
    """SROCC, saturation and clamping against scale."""
    rows = {
        "test_srocc": "test SROCC",
        "test_delta_saturation": "share with |delta| > .95",
        "test_clamped": "share clamped at 0 or 1",
    }
    figure, axes = style.new_figure(len(rows), len(ablation.targets), _ROW * len(rows))
    for row, (measure, words) in enumerate(rows.items()):
        for ax, target in zip(axes[row], ablation.targets, strict=True):
            title = target if row == 0 else ""
            draw_knob(compute_by_mode(study, "residual_scale", f"{measure}_{target}", title), ax)
        axes[row, 0].set_ylabel(say(words))
    return figure


def draw_data_size(ablation: Ablation, study: Study) -> "Figure":
    """SROCC against the share of the training prompts by mode, and against scale by share."""
    figure, axes = style.new_figure(2, len(ablation.targets), 2 * _ROW + 0.2)
    for column, target in enumerate(ablation.targets):
        measure = f"test_srocc_{target}"
        draw_knob(compute_by_mode(study, "train_share", measure, target), axes[0, column])
        draw_knob(_scale_by_share(study, measure), axes[1, column])
    for ax in axes[:, 0]:
        ax.set_ylabel(say("test SROCC"))
    if axes[1, 0].get_legend_handles_labels()[0]:
        key = axes[1, 0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)
        key.set_in_layout(False)  # it reaches over both columns
    return figure


def _scale_by_share(study: Study, measure: str) -> KnobData:
    varies = "train_share,residual_scale"
    cells = study.cells[study.cells["varies"] == varies]
    mode = "residual_partial_freeze"
    shares: Sequence[float] = sorted(set(cells["train_share"]))
    curves = [
        Curve(
            mode,
            compute_curve(study, "residual_scale", measure, varies=varies, train_share=share),
            label=say(
                "{mode}, {share} % of the prompts",
                mode=style.short(mode),
                share=f"{100 * share:.0f}",
            ),
            hollow=share < 1,
        )
        for share in shares
    ]
    room_for_key = " "
    return KnobData("residual_scale", room_for_key, [c for c in curves if c.points])


def _draw_one_row(knob: str) -> Callable[[Ablation, Study], "Figure"]:
    """SROCC against one knob, a curve a mode."""

    def draw(ablation: Ablation, study: Study) -> "Figure":
        figure, axes = style.new_figure(1, len(ablation.targets), _ROW + 0.3)
        for ax, target in zip(axes[0], ablation.targets, strict=True):
            draw_knob(compute_by_mode(study, knob, f"test_srocc_{target}", target), ax)
        axes[0, 0].set_ylabel(say("test SROCC"))
        return figure

    return draw


def draw_variant_rows(ablation: Ablation, study: Study) -> "Figure":
    """Differences from the guide's setting in SROCC and in saturation."""
    figure, axes = style.new_figure(2, len(ablation.targets), 2 * _ROW + 0.6, sharey=True)
    for column, target in enumerate(ablation.targets):
        for row, (measure, words) in enumerate(
            (("test_srocc", "test SROCC"), ("test_delta_saturation", "saturation"))
        ):
            label = say("{measure}, {target}: variant − guide", measure=words, target=target)
            draw_variants(compute_variants(study, f"{measure}_{target}", label), axes[row, column])
    return figure


def draw_heads(ablation: Ablation, study: Study) -> "Figure":
    """The grid on the pool; below, the best of it against the guide's setting on test."""
    figure, axes = style.new_figure(2, 1, 2 * _ROW + 0.4, height_ratios=(3, 1))
    draw_head_grid(compute_head_grid(study), axes[0, 0])
    rows = {
        say(target): compute_variants(study, f"test_srocc_{target}", "").rows
        for target in ablation.targets
    }
    merged = {target: found[best] for target, found in rows.items() for best in found}
    label = say("test SROCC: best of the grid − guide")
    draw_variants(VariantsData(label, merged), axes[1, 0])
    return figure


LAYOUTS: dict[str, tuple[Callable[[Ablation, Study], Any], str]] = {
    "depth": (
        draw_depth,
        "Test SROCC against the number of frozen blocks: 0 freezes nothing, the last all blocks. "
        "Each depth at the best of three rates, chosen on the tuning pool. Grey: the guide’s "
        "advice, 2/3 to 5/6 of the depth.",
    ),
    "scale": (
        draw_scale,
        "Both scales together. Above: test SROCC; middle: share of test images whose correction "
        "lies at its bound; below: share of predictions cut off at 0 or 1, where no gradient "
        "passes.",
    ),
    "data_size": (
        draw_data_size,
        "Test SROCC against the share of each split’s training prompts, nested; below against the "
        "scale, at the smallest share and at all. Epochs stay the same, so a smaller share also "
        "means fewer steps.",
    ),
    "batch_size": (_draw_one_row("batch_size"), "Test SROCC against the batch size."),
    "lr": (_draw_one_row("lr"), "Test SROCC against the rate that --lr names in each mode."),
    "variants": (
        draw_variant_rows,
        "One detail changed at a time. Above: test SROCC, below: saturation on test, each as "
        "difference from the guide’s setting on the same split.",
    ),
    "heads": (
        draw_heads,
        "Linear probes over learning rate and scale, trained together. Above: selection metric, "
        "mean over the folds of the tuning pool; ring: the guide’s setting, square: the best. "
        "Below: the best against the guide’s setting on the test parts.",
    ),
}


def study_pages(ablation: Ablation) -> list[Page]:
    """A page of every study that has a result."""
    return [_page(study) for study in ablation.studies.values() if len(study.cells)]


def _page(study: Study) -> Page:
    layout, caption = LAYOUTS[study.name]

    def draw(ablation: Ablation) -> "Figure":
        figure = layout(ablation, study)
        modes = sorted(set(study.cells["mode"]), key=mode_rank)
        if len(modes) > 1:
            style.mode_legend(figure, modes)
        return figure

    def words(_: Ablation) -> str:
        return say(caption) + say(" ") + _size(study)

    return Page(f"study_{study.name}", study.question, draw, words)


def _size(study: Study) -> str:
    return say(
        "Mark: mean over splits; bar: 95 % Nadeau–Bengio interval, unadjusted. n = {cells} cells of"
        " {listed} ({splits} splits, {epochs} epochs a cell), other knobs at the guide’s setting.",
        cells=len(study.cells),
        listed=study.n_listed,
        splits=study.n_splits,
        epochs=study.epochs,
    )
