"""The study of batch sizes: test SROCC against the batch size."""

from reports.evidence.ablation import Ablation
from reports.evidence.studies import Study
from reports.figures.page import Drawn
from reports.figures.studies.page import ROW, draw_srocc_by_mode
from reports.language import say


def draw_page(ablation: Ablation, study: Study) -> Drawn:
    """A curve a mode."""
    figure = draw_srocc_by_mode(ablation, study, "batch_size", ROW + 0.3)
    return figure, say("Test SROCC against the batch size.")
