"""The study of ends: SROCC against the share of frozen blocks, by end and by tower."""

from qa_core.measures.catalogue import SROCC
from reports.evidence.ablation import Ablation
from reports.evidence.studies import Study
from reports.figures.layout import new_figure
from reports.figures.page import Drawn
from reports.figures.studies.knob import Curve, KnobData, compute_curve, draw_knob
from reports.figures.studies.page import ROW
from reports.language import say

MODE, NOTHING = "residual_partial_freeze", "nothing"
_ROWS = (("first blocks", "last blocks"), ("image tower", "text tower"))
"""Curves of one axes: the second is drawn hollow."""


def compute_ends(study: Study, measure: str, ways: tuple[str, ...], title: str) -> KnobData:
    """A measure against the share of frozen blocks, a curve a way of freezing."""
    knob = "frozen_share"
    none = compute_curve(study, knob, measure, frozen=NOTHING)
    curves = [
        Curve(MODE, none | points, label=say(way), hollow=way != ways[0])
        for way in ways
        if (points := compute_curve(study, knob, measure, frozen=way))
    ]
    return KnobData(knob, title, curves)


def draw_page(ablation: Ablation, study: Study) -> Drawn:
    """Above: from either end of both towers; below: of one tower, from below."""
    figure, axes = new_figure(len(_ROWS), len(ablation.targets), 2 * ROW + 0.2, sharey="col")
    for row, ways in enumerate(_ROWS):
        for ax, target in zip(axes[row], ablation.targets, strict=True):
            title = target if row == 0 else ""
            draw_knob(compute_ends(study, SROCC.logged(target), ways, title), ax)
        axes[row, 0].set_ylabel(say("test SROCC"))
        if axes[row, 0].get_legend_handles_labels()[0]:
            axes[row, 0].legend(title=say("frozen"))
    return figure, say(
        "Test SROCC against the share of frozen blocks. Above: the first or the last blocks of "
        "both towers; below: the first blocks of one tower, all of the other training. Each point "
        "at the best of three rates, chosen on the tuning pool."
    )
