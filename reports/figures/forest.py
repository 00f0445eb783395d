"""The primary verdicts, on the cover: effects with adjusted intervals, margin band and word."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qa_core.records.schema import Setting
from reports.evidence.ablation import Ablation
from reports.figures import style
from reports.figures.axes import empty, score_axes
from reports.figures.layout import per_target
from reports.figures.page import Drawn, Page
from reports.inference.decisions import Word
from reports.language import phrase, say
from reports.verdicts.pairs import BEST, LIFT, decide_pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BOUND = ("residual", "matched_direct")
"""What the bound earns: secondary, but the question that a lift leaves open."""
SHOWN = (LIFT, BOUND, *BEST)
WORDS = {
    Word.BETTER: phrase("better"),
    Word.WORSE: phrase("worse"),
    Word.SAME: phrase("the same"),
    Word.NOT_DECIDED: phrase("not decided"),
}


@dataclass(frozen=True)
class Effect:
    """First − second: mean, the interval that Holm adjusts, and what is decided."""

    first: str
    second: str
    mean: float
    low: float
    high: float
    word: Word


def compute_effects(ablation: Ablation, target: str) -> list[Effect]:
    """The contrasts of `SHOWN` that the ablation decides, each as first − second."""
    decided = {
        frozenset((pair.first, pair.second)): pair
        for pair in decide_pairs(ablation, Setting.GUIDE)
        if pair.target == target and pair.decision is not None
    }
    effects: list[Effect] = []
    for first, second in SHOWN:
        pair = decided.get(frozenset((first, second)))
        if pair is None or pair.decision is None:
            continue
        mean, found = float(pair.measured.array.mean()), pair.decision
        if pair.first == first:
            effects.append(Effect(first, second, mean, found.low, found.high, found.word))
        else:
            turned = found.word.turned
            effects.append(Effect(first, second, -mean, -found.high, -found.low, turned))
    return effects


def draw_effects(effects: list[Effect], margin: float, ax: "Axes") -> None:
    """A row a contrast, its word at the right; the band is ± margin."""
    if not effects:
        empty(ax, say("nothing is decided here"))
        return
    ax.axvspan(-margin, margin, color=style.RULE, alpha=0.45, lw=0, zorder=0)
    ax.axvline(0, color=style.MUTED, lw=0.6, zorder=0)
    for row, one in enumerate(effects):
        tint = style.colour(one.first)
        ax.plot([one.low, one.high], [row, row], color=tint, lw=1.6)
        ax.scatter([one.mean], [row], s=24, marker=style.marker(one.first), color=tint, zorder=3)
        ax.text(1.02, row, _verdict_words(one, margin), transform=ax.get_yaxis_transform(),
                va="center", fontsize=8, color=style.INK)  # fmt: skip
    ax.set_ylim(len(effects) - 0.5, -0.5)
    low, high = ax.get_xlim()
    ax.set_xlim(max(min(low, -1.5 * margin), -1.02), min(max(high, 1.5 * margin), 1.02))
    ax.tick_params(axis="y", length=0)
    score_axes(ax, "x")


def _verdict_words(one: Effect, margin: float) -> str:
    """What is decided; a difference that is surely there may surely be small."""
    words = say(WORDS[one.word])
    if one.word in (Word.BETTER, Word.WORSE) and -margin < one.low and one.high < margin:
        return say("{verdict}, within the band", verdict=words)
    return words


def _draw(ablation: Ablation) -> Drawn:
    figure, axes = per_target(ablation, 0.5 + 0.17 * len(SHOWN))
    for place, (ax, target) in enumerate(zip(axes, ablation.targets, strict=True)):
        effects = compute_effects(ablation, target)
        draw_effects(effects, ablation.margin, ax)
        ax.set_title(say("{target}: difference in test SROCC", target=say(target)))
        names = [f"{style.short(e.first)} − {style.short(e.second)}" for e in effects]
        ax.set_yticks(range(len(names)), names if place == 0 else [""] * len(names))
    return figure, say(
        "Bars: intervals as Holm adjusts them with the verdict. Band: ± {margin}, within which"
        " a difference is of no weight. Better, worse: shown to be above or below 0, even where"
        " the difference lies within the band.",
        margin=style.format_score(ablation.margin).rstrip("0"),
    )


PAGE = Page("forest", "What is decided", _draw)
