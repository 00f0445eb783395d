"""A page of the report that is a figure: drawing many of them, on all cores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reports.evidence.load import Ablation
from reports.figures import style
from reports.figures.cores import on_all_cores
from reports.language import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Page:
    """One figure: its file name, the question it answers, how to draw it, and its caption."""

    name: str
    question: str
    draw: Callable[[Ablation], "Figure"]
    caption: Callable[[Ablation], str]


def draw_pages(
    pages: Sequence[Page], ablation: Ablation, folder: Path
) -> tuple[list[dict[str, str]], list[list[str]]]:
    """Write figures as SVG.

    Returns:
        Name, question and caption of each, in order; and of each that would show nothing, its
        question and why.
    """
    style.load_matplotlib()  # once, before processes are forked

    def draw(page: Page) -> str:
        return style.save_unless_empty(page.draw(ablation), folder / f"{page.name}.svg")

    drawn: list[dict[str, str]] = []
    missing: list[list[str]] = []
    for page, reason in zip(pages, on_all_cores(draw, pages), strict=True):
        question = say(page.question)
        if reason:
            missing.append([question, reason])
        else:
            caption = page.caption(ablation)
            drawn.append({"name": page.name, "question": question, "caption": caption})
    return drawn, missing
