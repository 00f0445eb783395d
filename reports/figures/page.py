"""A page of the report that is a figure: drawing many of them, on all cores."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reports.evidence.ablation import Ablation
from reports.figures.axes import why_empty
from reports.figures.cores import on_all_cores
from reports.figures.layout import lay_out
from reports.language import say, untranslated

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawn = tuple["Figure", str]
"""A figure and its caption, which says what is drawn, its centre and band, and n."""


@dataclass(frozen=True)
class Page:
    """One figure: its file name, the question it answers, and how it and its caption are made."""

    name: str
    question: str
    draw: Callable[[Ablation], Drawn]


def draw_pages(
    pages: Sequence[Page], ablation: Ablation, folder: Path
) -> tuple[list[dict[str, str]], list[list[str]]]:
    """Write figures as SVG.

    Returns:
        Name, question and caption of each, in order; and of each that would show nothing, its
        question and why.
    """
    import matplotlib.pyplot  # noqa: F401  # once, before processes are forked

    def draw(page: Page) -> tuple[str, str, list[str]]:
        figure, caption = page.draw(ablation)
        reason = _save_unless_empty(figure, folder / f"{page.name}.svg")
        return reason, caption, untranslated()

    drawn: list[dict[str, str]] = []
    missing: list[list[str]] = []
    for page, (reason, caption, lacking) in zip(pages, on_all_cores(draw, pages), strict=True):
        question = say(page.question)
        for sentence in lacking:
            say(sentence)  # again here, since what a fork could not translate is lost with it
        if reason:
            missing.append([question, reason])
        else:
            drawn.append({"name": page.name, "question": question, "caption": caption})
    return drawn, missing


def _save_unless_empty(figure: "Figure", path: Path) -> str:
    """Write an SVG that is the same, byte for byte, for the same data.

    Returns:
        Nothing, or why the figure shows nothing at all; then there is no file.
    """
    import matplotlib.pyplot as plt

    reason = why_empty(figure)
    if reason:
        path.unlink(missing_ok=True)  # one of an earlier build would not tell its age
    else:
        with warnings.catch_warnings():
            # it only measures, and knows a file of several faces by the first alone
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            lay_out(figure)
            figure.savefig(path, format="svg", dpi=300, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return reason
