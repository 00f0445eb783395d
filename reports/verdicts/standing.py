"""Whether modes stand above what needs no fine-tuning."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Reference, Setting
from reports.evidence.ablation import Ablation
from reports.verdicts.measured import Entry, Measured, measure_over_reference

Table = Mapping[str, Mapping[str, Entry]]
"""Entries of results.json by row and measure."""

WITHOUT_FINE_TUNING = (Reference.RIDGE, Reference.ZEROSHOT, Reference.SCENE)


@dataclass(frozen=True)
class Standing:
    """Modes by where the interval of their difference from a reference lies.

    Attributes:
        above: Wholly above 0.
        below: Wholly below 0.
        open: Around 0.
    """

    above: tuple[str, ...]
    below: tuple[str, ...]
    open: tuple[str, ...]


def unbeaten(ablation: Ablation, modes: Table, baselines: Table) -> list[Entry]:
    """By target the strongest reference, where no mode is shown to rank better.

    Args:
        ablation: The ablation.
        modes: Entries of the modes.
        baselines: Entries of the references; those are meant that need no fine-tuning.

    Returns:
        `target`, `reference`, its `mean`, and whether `every` mode is shown to rank worse.
    """
    rivals = (*WITHOUT_FINE_TUNING, Reference.FLOOR)
    known: Table = {name: baselines[name] for name in rivals if name in baselines}
    found: list[Entry] = []
    for target in ablation.targets if ablation.decides else ():
        means, bars = srocc_by_row(modes, target), srocc_by_row(known, target)
        if not means or not bars:
            continue
        strongest = max(bars, key=lambda name: bars[name])
        one = standing_over(ablation, means, strongest, target, len(bars))
        if not one.above and (one.open or one.below):
            every = len(one.below) == len(means)
            entry = {"target": target, "reference": strongest, "mean": bars[strongest]}
            found.append(entry | {"every": every})
    return found


def standing_over(
    ablation: Ablation, modes: Iterable[str], reference: str, target: str, n_references: int
) -> Standing:
    """Where the modes' differences from a reference lie; intervals are for all references."""
    metric = SROCC.logged(target)
    lifts = {
        mode: measure_over_reference(ablation, mode, reference, metric, Setting.GUIDE)
        for mode in modes
    }
    return standing_of(lifts, len(lifts) * n_references)


def standing_of(lifts: dict[str, Measured], n_contrasts: int) -> Standing:
    """Where the paired differences lie, by their intervals, Bonferroni's over all contrasts."""
    level = 1.0 - 0.05 / max(n_contrasts, 1)
    sides: dict[str, list[str]] = {"above": [], "below": [], "open": []}
    for name, lift in lifts.items():
        if lift.by_split.empty:
            continue
        side = "open"
        if lift.estimate is not None:
            low, high = lift.estimate.bounds(level)
            side = "above" if low > 0 else "below" if high < 0 else "open"
        sides[side].append(name)
    return Standing(tuple(sides["above"]), tuple(sides["below"]), tuple(sides["open"]))


def srocc_by_row(table: Table, target: str) -> dict[str, float]:
    """Mean test SROCC by row, where it is defined."""
    means = {name: entries[SROCC.key(target)]["mean"] for name, entries in table.items()}
    return {name: mean for name, mean in means.items() if mean is not None}
