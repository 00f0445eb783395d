"""The study of scales: SROCC, saturation and clamping against the residual scale."""

from qa_core.measures.catalogue import CLAMPED, SATURATION, SROCC
from reports.evidence.ablation import Ablation
from reports.evidence.studies import Study
from reports.figures.layout import new_figure
from reports.figures.page import Drawn
from reports.figures.studies.knob import compute_by_mode, draw_knob
from reports.figures.studies.page import ROW
from reports.language import say


def draw_page(ablation: Ablation, study: Study) -> Drawn:
    """A row of axes a measure."""
    rows = {
        SROCC: say("test SROCC"),
        SATURATION: say("share with |delta| > .95"),
        CLAMPED: say("share clamped at 0 or 1"),
    }
    figure, axes = new_figure(len(rows), len(ablation.targets), ROW * len(rows))
    for row, (measure, words) in enumerate(rows.items()):
        for ax, target in zip(axes[row], ablation.targets, strict=True):
            title = target if row == 0 else ""
            draw_knob(compute_by_mode(study, "residual_scale", measure.logged(target), title), ax)
        axes[row, 0].set_ylabel(words)
    return figure, say(
        "Both scales together. Above: test SROCC; middle: share of test images whose correction "
        "lies at its bound; below: share of predictions cut off at 0 or 1, where no gradient "
        "passes."
    )
