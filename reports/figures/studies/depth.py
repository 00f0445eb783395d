"""The study of freeze depth: test SROCC against the number of frozen blocks."""

from qa_core.records.schema import Param
from reports.evidence.ablation import Ablation
from reports.evidence.studies import Study
from reports.figures.page import Drawn
from reports.figures.studies.page import ROW, draw_srocc_by_mode
from reports.language import say
from reports.verdicts.study_contrasts import BAND


def draw_page(ablation: Ablation, study: Study) -> Drawn:
    """A curve over depths, and the band that the guide advises."""
    depth = int(ablation.params[Param.IMAGE_DEPTH])
    band = BAND[0] * depth, BAND[1] * depth
    figure = draw_srocc_by_mode(ablation, study, "freeze_layers", ROW + 0.2, band)
    return figure, say(
        "Test SROCC against the number of frozen blocks: 0 freezes nothing, the last all blocks. "
        "Each depth at the best of three rates, chosen on the tuning pool. Grey: the guide’s "
        "advice, 2/3 to 5/6 of the depth."
    )
