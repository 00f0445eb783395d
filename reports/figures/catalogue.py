"""The figures of a report, in its order: a line a figure."""

from pathlib import Path

from reports.evidence.ablation import Ablation
from reports.figures import (
    base_delta,
    breakdown,
    curves,
    deciles,
    forest,
    gap,
    glance,
    importance,
    paired,
    saturation,
    scatter,
    strips,
    tradeoff,
    trials,
    wins,
)
from reports.figures.arms import gains, line, retention
from reports.figures.page import Page, draw_pages
from reports.figures.studies import (
    augmentation,
    batch_size,
    data_size,
    depth,
    ends,
    heads,
    ladder,
    lr,
    scale,
    variants,
)
from reports.figures.studies.page import DrawStudy, study_page

PAGES: tuple[Page, ...] = (
    strips.PAGE,
    paired.PAGE,
    wins.PAGE,
    curves.PAGE,
    gap.PAGE,
    saturation.PAGE,
    base_delta.PAGE,
    tradeoff.RETENTION,
    tradeoff.COST,
    scatter.PAGE,
    deciles.PAGE,
    breakdown.PAGE,
    importance.PAGE,
    trials.PAGE,
)
STUDIES: dict[str, DrawStudy] = {
    "ladder": ladder.draw_page,
    "depth": depth.draw_page,
    "ends": ends.draw_page,
    "scale": scale.draw_page,
    "data_size": data_size.draw_page,
    "batch_size": batch_size.draw_page,
    "augmentation": augmentation.draw_page,
    "lr": lr.draw_page,
    "variants": variants.draw_page,
    "heads": heads.draw_page,
}
"""By the study's name; the order is that of the ablation's studies."""
COVER: tuple[Page, ...] = (glance.PAGE, forest.PAGE)
ARMS: tuple[Page, ...] = (gains.PAGE, retention.PAGE, line.PAGE)


def draw_all(ablation: Ablation, folder: Path) -> tuple[list[dict[str, str]], list[list[str]]]:
    """Write every figure but those of the arms; returns what `draw_pages` does."""
    studies = [study for study in ablation.studies.values() if len(study.cells)]
    of_studies = [study_page(study, STUDIES[study.name]) for study in studies]
    return draw_pages((*PAGES, *of_studies), ablation, folder)


def draw_cover(ablation: Ablation, folder: Path) -> list[dict[str, str]]:
    """Write the figures of the cover; name, question and caption of each that shows any."""
    return draw_pages(COVER, ablation, folder)[0]


def draw_arms(ablation: Ablation, folder: Path) -> list[dict[str, str]]:
    """Write the figures of the arms as SVG; name, question and caption of each that shows any."""
    if ablation.arms is None:
        for page in ARMS:  # one of an earlier build would not tell its age
            (folder / f"{page.name}.svg").unlink(missing_ok=True)
        return []
    drawn, _ = draw_pages(ARMS, ablation, folder)
    return drawn
