"""The variants study: what each changed detail earns against the guide's setting."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qa_core.measures.catalogue import SATURATION, SROCC
from reports.evidence.ablation import Ablation
from reports.evidence.frames import mode_rank
from reports.evidence.studies import Study
from reports.figures import style
from reports.figures.axes import empty, score_axes
from reports.figures.layout import new_figure
from reports.figures.page import Drawn
from reports.figures.studies.page import ROW
from reports.language import say
from reports.statistics import Interval
from reports.verdicts.measured import measure, side_of_study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VARIANT, GUIDE = "variant", "guide"
_DODGE = 0.17


@dataclass(frozen=True)
class VariantsData:
    """By what was changed and mode: mean and interval of a difference from the unchanged."""

    label: str
    rows: dict[str, dict[str, Interval]]


def compute_variants(
    study: Study, metric: str, label: str, knob: str = VARIANT, base: str = GUIDE
) -> VariantsData:
    """Difference of a metric from its value at the base of a knob, on the same split.

    Args:
        study: The study.
        metric: Name of the measure.
        label: Of the axis.
        knob: What is changed.
        base: Its value that all others are held against.
    """
    rows: dict[str, dict[str, Interval]] = {}
    modes = sorted(set(study.cells["mode"]), key=mode_rank)
    variants = [v for v in dict.fromkeys(study.cells[knob]) if v != base]
    for variant in variants:
        for mode in modes:
            own = side_of_study(study, mode=mode, **{knob: variant})
            unchanged = side_of_study(study, mode=mode, **{knob: base})
            difference = measure(study.design, [(1.0, own), (-1.0, unchanged)], metric)
            if len(difference.by_split):
                rows.setdefault(variant, {})[mode] = difference.interval
    return VariantsData(label, rows)


def draw_variants(data: VariantsData, ax: "Axes") -> None:
    """A row a variant, in it a mark and bar a mode; 0 is the guide's setting."""
    if not data.rows:
        empty(ax, say("no variant has this measure"))
        return
    ax.axvline(0, color=style.RULE, lw=0.8, zorder=0)
    for row, found in enumerate(data.rows.values()):
        for number, (mode, interval) in enumerate(found.items()):
            y, tint = row + _DODGE * (number - (len(found) - 1) / 2), style.colour(mode)
            if interval.low is not None and interval.high is not None:
                ax.plot([interval.low, interval.high], [y, y], color=tint, lw=1.2)
            ax.scatter([interval.mean], [y], s=18, marker=style.marker(mode), color=tint, zorder=3)
    ax.set_yticks(range(len(data.rows)), list(data.rows))
    ax.set_ylim(len(data.rows) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    score_axes(ax, "x")
    ax.set_xlabel(data.label)


def draw_page(ablation: Ablation, study: Study) -> Drawn:
    """Differences from the guide's setting in SROCC and in saturation."""
    figure, axes = new_figure(2, len(ablation.targets), 2 * ROW + 0.6, sharey=True)
    for column, target in enumerate(ablation.targets):
        for row, (kind, words) in enumerate(((SROCC, "test SROCC"), (SATURATION, "saturation"))):
            label = say("{measure}, {target}: variant − guide", measure=words, target=target)
            draw_variants(compute_variants(study, kind.logged(target), label), axes[row, column])
    return figure, say(
        "One detail changed at a time. Above: test SROCC, below: saturation on test, each as "
        "difference from the guide’s setting on the same split."
    )
