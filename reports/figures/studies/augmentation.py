"""The study of augmentation: what random crops and flips earn, a mark a mode."""

from qa_core.measures.catalogue import GAP_LAST, SROCC
from reports.evidence.ablation import Ablation
from reports.evidence.studies import Study
from reports.figures.layout import new_figure
from reports.figures.page import Drawn
from reports.figures.studies.page import ROW
from reports.figures.studies.variants import compute_variants, draw_variants
from reports.language import say

PLAIN = "none"


def draw_page(ablation: Ablation, study: Study) -> Drawn:
    """Differences from training without, in SROCC and in the gap."""
    figure, axes = new_figure(2, len(ablation.targets), 1.3 * ROW + 0.6, sharey=True)
    for column, target in enumerate(ablation.targets):
        for row, (kind, words) in enumerate(((SROCC, "test SROCC"), (GAP_LAST, "gap"))):
            label = say("{measure}, {target}: with − without", measure=words, target=target)
            data = compute_variants(study, kind.logged(target), label, "augment", PLAIN)
            draw_variants(data, axes[row, column])
    return figure, say(
        "Training on random crops and flips against training on the images themselves, at the "
        "guide’s setting. Above: test SROCC, below: train–val gap at the last epoch, each as "
        "difference on the same split."
    )
