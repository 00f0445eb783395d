"""SROCC within each generator, length of the prompt and column of the table: where a mode fails."""

from typing import TYPE_CHECKING

from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.figures import style
from reports.figures.axes import empty, score_axes
from reports.figures.layout import PAGE_HEIGHT, mode_legend, per_target
from reports.figures.page import Drawn, Page
from reports.figures.words import count_runs
from reports.language import say, say_word
from reports.statistics import Interval
from reports.verdicts.breakdown import ALL, FEWEST_PROMPTS, Level, Part, break_down, most_frequent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LEVELS = 32
"""Rows that a page has room for; the page in HTML and the table as CSV have all."""
_BETWEEN = 0.13  # rows between the marks of two modes


def compute_breakdown(ablation: Ablation, target: Target) -> list[Part]:
    """The levels that the figure and the table beside it have room for."""
    parts = most_frequent(break_down(ablation, target), MOST_LEVELS)
    return parts if len(parts) > 1 else []


def level_words(part: Part, level: Level) -> str:
    """A level's name; a blank cell has none, and all images are one level."""
    return level.name or say(ALL if part.attribute.name == ALL else "none")


def draw_breakdown(parts: list[Part], modes: tuple[str, ...], ax: "Axes") -> None:
    """A row a level, a mark with its interval a mode; a row of its own names each attribute."""
    if not parts:
        empty(ax, say("nothing but the images themselves tells them apart"))
        return
    names: list[str] = []
    headings: list[int] = []
    for part in parts:
        if part.attribute.name != ALL:
            headings.append(len(names))
            names.append(style.plain(say_word(part.attribute.name), 26))
        for level in part.levels:
            names.append(f"{style.plain(level_words(part, level))} ({level.images:,})")
            for place, mode in enumerate(modes):
                _draw_mark(ax, level.scores.get(mode), mode,
                           len(names) - 1 + _BETWEEN * (place - (len(modes) - 1) / 2))  # fmt: skip
    ax.set_yticks(range(len(names)), names)
    for row in headings:
        ax.get_yticklabels()[row].set_color(style.MUTED)
        ax.axhline(row, color=style.RULE, lw=0.5, zorder=0)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    score_axes(ax, "x")


def _draw_mark(ax: "Axes", score: Interval | None, mode: str, y: float) -> None:
    if score is None:
        return
    tint = style.colour(mode)
    if score.low is not None and score.high is not None:
        ax.plot([score.low, score.high], [y, y], color=tint, lw=0.7, alpha=0.7)
    ax.scatter([score.mean], [y], s=9, marker=style.marker(mode), color=tint, linewidths=0)


def _row_names(ax: "Axes") -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def _draw(ablation: Ablation) -> Drawn:
    data = [compute_breakdown(ablation, target) for target in ablation.targets]
    rows = max((sum(len(p.levels) + 1 for p in parts) for parts in data), default=0)
    figure, axes = per_target(ablation, min(0.9 + 0.19 * rows, PAGE_HEIGHT))
    for ax, parts, target in zip(axes, data, ablation.targets, strict=True):
        draw_breakdown(parts, ablation.mode_names, ax)
        ax.set_title(say("{target}: SROCC within", target=say(target)))
        if ax is not axes[0] and _row_names(ax) == _row_names(axes[0]):
            ax.set_yticklabels([])
    if rows:
        mode_legend(figure, ablation.mode_names)
    return figure, say(
        "SROCC within each level. Mark: mean over splits; bar: 95 % interval over prompts for the "
        "models at hand, unadjusted; beside a level: its tested images. Levels of fewer than {few} "
        "prompts are left out. {n}.",
        few=str(FEWEST_PROMPTS),
        n=count_runs(ablation),
    )


PAGE = Page("breakdown", "Where does each mode fail?", _draw)
