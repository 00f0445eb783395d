"""Who leads on a target, and whether the modes stand above what needs no fine-tuning, in words."""

import math
from collections.abc import Sequence

from qa_core.arms import CONTROLS
from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Reference, Setting
from reports.evidence.ablation import Ablation
from reports.figures.style import format_score, label
from reports.language import say, say_all, say_list
from reports.statistics import told_bounds
from reports.verdicts.measured import Entry, measure_pair
from reports.verdicts.standing import (
    WITHOUT_FINE_TUNING,
    Table,
    srocc_by_row,
    standing_of,
    standing_over,
)


def standing_in_words(ablation: Ablation, modes: Table, baselines: Table, target: str) -> str:
    """The leader, what it can be told from, and the modes against ridge, zero-shot and floor."""
    if not srocc_by_row(modes, target):
        return say("On {target} no mode has a finished run.", target=target)
    references: Table = {name: baselines[name] for name in WITHOUT_FINE_TUNING if name in baselines}
    bars = srocc_by_row(references, target)
    strongest_first = sorted(bars, key=lambda name: -bars[name])
    against = [
        _against(ablation, modes, (name, bars[name]), target, len(bars)) for name in strongest_first
    ]
    if not bars:
        against = [say("There is no zero-shot or ridge row to hold the modes against.")]
    floor = _floor_words(ablation, modes, baselines, target)
    return say_all([_leader(ablation, modes, target), *against, floor])


def _leader(ablation: Ablation, modes: Table, target: str) -> str:
    """Which mode has the highest mean, and from whom the splits can tell it apart.

    A control is a rival, but does not lead: nobody would use it.
    """
    means = srocc_by_row(modes, target)
    candidates = [mode for mode in means if mode not in CONTROLS] or list(means)
    best = max(candidates, key=lambda m: means[m])
    start = say(
        "On {target}, {mode} has the highest mean test SROCC of the modes at the guide’s setting, "
        "{score}.",
        target=target,
        mode=label(best),
        score=with_interval(modes[best][SROCC.key(target)]),
    )
    rivals = [m for m in means if m != best] if ablation.decides else []
    apart, close = told_apart(ablation, best, rivals, target)
    return say_all([start, _apart_words(apart, close)])


def _apart_words(apart: Sequence[str], close: Sequence[str]) -> str:
    if not apart and not close:
        return ""
    if not apart:
        return say("The splits cannot tell it from any other mode.")
    if not close:
        return say("It is ahead of every other mode beyond what the splits’ spread explains.")
    return say(
        "It is ahead of {apart} beyond what the splits’ spread explains; it cannot be told from"
        " {close}.",
        apart=_named(apart),
        close=_named(close),
    )


def told_apart(
    ablation: Ablation, best: str, rivals: Sequence[str], target: str
) -> tuple[list[str], list[str]]:
    """Rivals whose paired interval excludes 0, and the others.

    The data chose which mode is best, so every pair of modes was at stake: the intervals are
    Bonferroni's over all pairs, not over the rivals alone.
    """
    metric = SROCC.logged(target)
    lifts = {rival: measure_pair(ablation, best, rival, metric, Setting.GUIDE) for rival in rivals}
    found = standing_of(lifts, math.comb(len(rivals) + 1, 2))
    return list(found.above), [*found.open, *found.below]


def _against(
    ablation: Ablation, modes: Table, row_of: tuple[str, float], target: str, n_references: int
) -> str:
    """The modes against a reference: told apart where splits decide, else by means alone.

    Args:
        ablation: The ablation.
        modes: Entries of the modes.
        row_of: The reference's name and mean.
        target: The target.
        n_references: References that the modes are held against; the intervals are for all.
    """
    reference, bar = row_of
    mark = f"{label(reference)} ({format_score(bar)})"
    if not ablation.decides:
        return _by_means(srocc_by_row(modes, target), bar, mark)
    names = srocc_by_row(modes, target)
    found = standing_over(ablation, names, reference, target, n_references)
    if not (found.above or found.open or found.below):
        return _by_means(srocc_by_row(modes, target), bar, mark)  # no split has both
    if len(found.above) == len(names):
        return say(
            "Every mode lies above {reference} beyond what the splits’ spread explains.",
            reference=mark,
        )
    if len(found.open) == len(names):
        return say(
            "No mode can be told from {reference}: none is shown to have earned its training.",
            reference=mark,
        )
    groups = [
        found.above
        and say(
            "{modes} above it beyond what the splits’ spread explains", modes=_named(found.above)
        ),
        found.open and say("{modes} not to be told from it", modes=_named(found.open)),
        found.below and say("{modes} below it", modes=_named(found.below)),
    ]
    words = [str(group) for group in groups if group]
    said = say("Against {reference}: {groups}.", reference=mark, groups=say("; ").join(words))
    if found.above:
        return said
    return say_all([said, say("No mode is shown to have earned its training against it.")])


def _named(modes: Sequence[str]) -> str:
    return say_list([label(mode) for mode in modes])


def _by_means(means: dict[str, float], bar: float, mark: str) -> str:
    losers = [mode for mode, mean in means.items() if mean <= bar]
    if not losers:
        return say("All modes lie above {reference} in the mean.", reference=mark)
    if len(losers) == len(means):
        return say("No mode lies above {reference} in the mean.", reference=mark)
    return say(
        "No higher than {reference} in the mean: {modes}.",
        reference=mark,
        modes=_named(losers),
    )


def _floor_words(ablation: Ablation, modes: Table, baselines: Table, target: str) -> str:
    """A warning where no mode is shown to rank better than generator and prompt alone."""
    floor, means = srocc_by_row(baselines, target).get(Reference.FLOOR), srocc_by_row(modes, target)
    if floor is None:
        return ""
    mark = format_score(floor)
    if not ablation.decides:
        if floor <= max(means.values()):
            return ""
        return say(
            "In the mean, generator and prompt alone, without a look at any image, rank better"
            " than every mode: {floor}.",
            floor=mark,
        )
    found = standing_over(ablation, means, Reference.FLOOR, target, 1)
    if found.above:
        return ""
    if found.open:
        return say(
            "No mode is shown to rank better than generator and prompt alone, without a look at"
            " any image ({floor}).",
            floor=mark,
        )
    return say(
        "Generator and prompt means alone, without a look at any image, reach {floor}: what the"
        " modes rank on is less than that.",
        floor=mark,
    )


def with_interval(entry: Entry) -> str:
    """A mean with its interval: .756 [.741, .771]."""
    mean = format_score(entry["mean"])
    if entry["low"] is None:
        return mean
    bounds = told_bounds(entry["low"], entry["high"], SROCC.scale)
    words = ", ".join(map(format_score, bounds)) if bounds else say("cannot be told")
    return f"{mean} [{words}]"
