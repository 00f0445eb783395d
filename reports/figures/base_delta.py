"""What the correction earns: SROCC of the base alone against base + delta."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qa_core.measures.catalogue import BASE_SROCC, SROCC
from reports.evidence.ablation import Ablation
from reports.figures import style
from reports.figures.axes import empty, name_columns, score_axes
from reports.figures.layout import per_target
from reports.figures.page import Drawn, Page
from reports.figures.words import count_runs
from reports.language import say
from reports.statistics import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class BaseDeltaData:
    """Per mode: test SROCC of the base and of the whole, paired by split."""

    target: str
    base: dict[str, FloatArray]
    whole: dict[str, FloatArray]


def compute_base_delta(ablation: Ablation, target: str) -> BaseDeltaData:
    """Pairs by split at the guide's setting; modes without residuals have no base."""
    base: dict[str, FloatArray] = {}
    whole: dict[str, FloatArray] = {}
    for mode in ablation.mode_names:
        left = ablation.by_split(mode, BASE_SROCC.logged(target))
        right = ablation.by_split(mode, SROCC.logged(target))
        both = left.index.intersection(right.index)
        if len(both):
            base[mode] = left.loc[both].to_numpy(float)
            whole[mode] = right.loc[both].to_numpy(float)
    return BaseDeltaData(target, base, whole)


def draw_base_delta(data: BaseDeltaData, ax: "Axes") -> None:
    """One line a split from base to whole, the mean in full colour."""
    if not data.base:
        empty(ax, say("undefined: no mode with a bounded correction was run"))
        return
    for k, (mode, base) in enumerate(data.base.items()):
        tint, xs = style.colour(mode), [k - 0.22, k + 0.22]
        for left, right in zip(base, data.whole[mode], strict=True):
            ax.plot(xs, [left, right], color=tint, lw=0.6, alpha=0.35)
        ax.plot(xs, [base.mean(), data.whole[mode].mean()], color=tint, lw=1.8,
                marker=style.marker(mode), ms=5)  # fmt: skip
    name_columns(ax, list(data.base))
    ax.set_xlim(-0.6, len(data.base) - 0.4)
    score_axes(ax, "y")
    ax.set_title(say(data.target))


def _draw(ablation: Ablation) -> Drawn:
    figure, axes = per_target(ablation, 2.4)
    for ax, target in zip(axes, ablation.targets, strict=True):
        draw_base_delta(compute_base_delta(ablation, target), ax)
    axes[0].set_ylabel(say("test SROCC"))
    return figure, say(
        "What the correction earns: left end of each line the base alone, right end base + delta. "
        "Thin: splits; thick: their mean. {n}; no interval is drawn.",
        n=count_runs(ablation),
    )


PAGE = Page("base_delta", "What does the correction earn?", _draw)
