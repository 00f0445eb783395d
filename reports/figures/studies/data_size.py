"""The study of data sizes: SROCC against the share of the training prompts, and against scale."""

from collections.abc import Sequence

from qa_core.measures.catalogue import SROCC
from reports.evidence.ablation import Ablation
from reports.evidence.studies import Study
from reports.figures import style
from reports.figures.layout import new_figure
from reports.figures.page import Drawn
from reports.figures.studies.knob import (
    Curve,
    KnobData,
    compute_by_mode,
    compute_curve,
    draw_knob,
)
from reports.figures.studies.page import ROW
from reports.language import say

MODE = "residual_partial_freeze"
"""The mode whose scale varies with the share."""


def compute_scale_by_share(study: Study, measure: str) -> KnobData:
    """A measure against scale, a curve a share of the training prompts."""
    varies = "train_share,residual_scale"
    cells = study.cells[study.cells["varies"] == varies]
    shares: Sequence[float] = sorted(set(cells["train_share"]))
    curves = [
        Curve(
            MODE,
            compute_curve(study, "residual_scale", measure, varies=varies, train_share=share),
            label=say(
                "{mode}, {share} % of the prompts",
                mode=style.short(MODE),
                share=f"{100 * share:.0f}",
            ),
            hollow=share < 1,
        )
        for share in shares
    ]
    room_for_key = " "
    return KnobData("residual_scale", room_for_key, [c for c in curves if c.points])


def draw_page(ablation: Ablation, study: Study) -> Drawn:
    """Above by share, a curve a mode; below by scale, a curve a share."""
    figure, axes = new_figure(2, len(ablation.targets), 2 * ROW + 0.2)
    for column, target in enumerate(ablation.targets):
        measure = SROCC.logged(target)
        draw_knob(compute_by_mode(study, "train_share", measure, target), axes[0, column])
        draw_knob(compute_scale_by_share(study, measure), axes[1, column])
    for ax in axes[:, 0]:
        ax.set_ylabel(say("test SROCC"))
    if axes[1, 0].get_legend_handles_labels()[0]:
        key = axes[1, 0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)
        key.set_in_layout(False)  # it reaches over both columns
    return figure, say(
        "Test SROCC against the share of each split’s training prompts, nested; below against the "
        "scale, at the smallest share and at all. Epochs stay the same, so a smaller share also "
        "means fewer steps."
    )
