"""The ladder: test SROCC against alignment retention, and against the parameters that train."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.evidence.studies import Study
from reports.figures import style
from reports.figures.axes import empty, score_axes, spread
from reports.figures.layout import new_figure
from reports.figures.page import Drawn
from reports.language import say, say_list
from reports.verdicts.ladder import FULL, Rung, cheapest, climb

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Cost = Literal["retention", "parameters"]
COSTS: tuple[Cost, ...] = get_args(Cost)


@dataclass(frozen=True)
class LadderData:
    """Rungs of one target against one cost, and what is not worse than full fine-tuning."""

    target: Target
    cost: Cost
    rungs: list[Rung]
    limit: float | None


def compute_ladder(
    study: Study, targets: tuple[Target, ...], margin: float, target: Target, cost: Cost
) -> LadderData:
    """The rungs that have this cost; the limit is full fine-tuning's mean less the margin."""
    every = climb(study, targets, margin)
    shown = [rung for rung in every if cost == "parameters" or rung.retention is not None]
    full = next((rung for rung in every if rung.name == FULL), None)
    limit = None if full is None else full.srocc[target].mean - margin
    return LadderData(target, cost, shown, limit)


def draw_ladder(data: LadderData, ax: "Axes") -> None:
    """A mark and bars a rung; ring: not worse than full fine-tuning; dashed: the limit of that."""
    if not data.rungs:
        empty(ax, say("{measure} is undefined in every run", measure=_label(data.cost)))
        return
    if data.limit is not None:
        ax.axhline(data.limit, color=style.LIMIT, lw=0.8, ls=(0, (4, 2)), zorder=0)
    places = _places(data)
    for rung, x in zip(data.rungs, places, strict=True):
        _draw_rung(rung, x, data, ax)
    low, high = ax.get_ylim()  # intervals of few splits reach beyond what SROCC can be
    ax.set_ylim(max(low, -1.0), min(high, 1.0))
    if data.cost == "parameters":
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    else:
        ax.set_xlim(right=min(ax.get_xlim()[1], 1.0 + 0.05 * (1.0 - min(places)) + 0.001))
    score_axes(ax, "y" if data.cost == "parameters" else "xy")
    ax.set_xlabel(_label(data.cost))


def _label(cost: Cost) -> str:
    if cost == "retention":
        return say("alignment retention")
    return say("trained parameters, heads included")


def _places(data: LadderData) -> list[float]:
    """Where rungs stand on the x axis; those that train equally much stand side by side."""
    if data.cost == "retention":
        return [rung.retention.mean for rung in data.rungs if rung.retention is not None]
    logs = [math.log10(rung.parameters) for rung in data.rungs]
    low, high = min(logs), max(logs)
    gap = (high - low) / 36
    return [10**x for x in spread(logs, gap, low, high + 4 * gap)]


def _draw_rung(rung: Rung, x: float, data: LadderData, ax: "Axes") -> None:
    tint, score = style.colour(rung.name), rung.srocc[data.target]
    look = {"color": tint, "lw": 0.8, "alpha": 0.45, "zorder": 1}
    if score.low is not None and score.high is not None:
        ax.plot([x, x], [score.low, score.high], **look)
    kept = rung.retention if data.cost == "retention" else None
    if kept is not None and kept.low is not None and kept.high is not None:
        ax.plot([kept.low, kept.high], [score.mean, score.mean], **look)
    ax.scatter([x], [score.mean], s=36, marker=style.marker(rung.name), color=tint, zorder=3)
    if rung.is_kept:
        ax.scatter([x], [score.mean], s=95, fc="none", ec=style.INK, lw=0.7, zorder=3)


def draw_page(ablation: Ablation, study: Study) -> Drawn:
    """Above against what is kept of CLIP's alignment, below against what trains."""
    targets, margin = tuple(ablation.targets), ablation.margin
    figure, axes = new_figure(2, len(targets), 5.2, sharey="col")
    for row, cost in enumerate(COSTS):
        for column, target in enumerate(targets):
            data = compute_ladder(study, targets, margin, target, cost)
            draw_ladder(data, axes[row, column])
            if row == 0:
                axes[row, column].set_title(say(target))
    for ax in axes[:, 0]:
        ax.set_ylabel(say("test SROCC"))
    return figure, say(
        "Test SROCC against alignment retention, and against the parameters that train. Each rung "
        "at the best of three rates, chosen on the tuning pool. Ring: shown to be not worse than "
        "{full}, in which all of CLIP trains, by more than {margin} on any target (Holm over the "
        "rungs); dashed: its mean less that margin. Rungs that train equally much stand side by "
        "side. {found}",
        full=style.label(FULL),
        margin=style.format_score(margin).rstrip("0"),
        found=_kept_words(climb(study, targets, margin)),
    )


def _kept_words(ladder: list[Rung]) -> str:
    kept, best = [style.label(one.name) for one in ladder if one.is_kept], cheapest(ladder)
    if best is None:
        return say("None is ringed.")
    return say(
        "Ringed: {kept}. The cheapest of them is {name}, with {parameters} trained parameters.",
        kept=say_list(kept),
        name=style.label(best.name),
        parameters=f"{best.parameters:,.0f}",
    )
