"""The page of a designed study: its figure, the key of its modes, and how large it is."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from qa_core.measures.catalogue import SROCC
from reports.evidence.ablation import Ablation
from reports.evidence.frames import mode_rank
from reports.evidence.studies import Study
from reports.figures.layout import mode_legend, per_target
from reports.figures.page import Drawn, Page
from reports.figures.studies.knob import compute_by_mode, draw_knob
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DrawStudy = Callable[[Ablation, Study], Drawn]
ROW = 2.15  # inches


def study_page(study: Study, draw_study: DrawStudy) -> Page:
    """The page of a study that has a result; the study itself tells its question."""

    def draw(ablation: Ablation) -> Drawn:
        figure, caption = draw_study(ablation, study)
        modes = sorted(set(study.cells["mode"]), key=mode_rank)
        if len(modes) > 1:
            mode_legend(figure, modes)
        return figure, caption + say(" ") + _size(study)

    return Page(f"study_{study.name}", study.question, draw)


def _size(study: Study) -> str:
    return say(
        "Mark: mean over splits; bar: 95 % interval, unadjusted. n = {cells} cells of"
        " {listed} ({splits} splits, {epochs} epochs a cell), other knobs at the guide’s setting.",
        cells=len(study.cells),
        listed=study.n_listed,
        splits=study.n_splits,
        epochs=study.epochs,
    )


def draw_srocc_by_mode(
    ablation: Ablation,
    study: Study,
    knob: str,
    height: float,
    band: tuple[float, float] | None = None,
) -> "Figure":
    """Test SROCC against one knob: axes a target, a curve a mode."""
    figure, axes = per_target(ablation, height)
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_knob(compute_by_mode(study, knob, SROCC.logged(target), target, band), ax)
    axes[0].set_ylabel(say("test SROCC"))
    return figure
