"""What was planned and foreseen of an ablation beside what it took and came to."""

from collections.abc import Mapping

from qa_core.records.schema import Foreseen, Param
from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.figures.style import format_score, label
from reports.language import say
from reports.text.resolution import Resolution


def is_planned(param: str) -> bool:
    """Whether a parameter of an ablation is a part of its plan."""
    return param.startswith((Param.PLANNED, *Foreseen))


def plan_rows(
    ablation: Ablation, resolutions: Mapping[Target, Resolution | None]
) -> list[list[str]]:
    """Pairs of name and words: worker seconds of each mode, the whole, and what is decided.

    Args:
        ablation: The ablation; without a plan there are no rows.
        resolutions: What it can tell apart, by target.
    """
    rows: list[list[str]] = []
    own = ablation.runs[ablation.runs["kind"].isin(["trial", "confirmation"])]
    for name, planned in sorted(ablation.params.items()):
        if name.startswith(Param.PLANNED) and name != Param.PLANNED_WHOLE:
            mode = name.removeprefix(Param.PLANNED).removesuffix("_s")
            took = own.loc[own["mode"] == mode, "seconds"].sum()
            rows.append([say("{mode}, worker seconds", mode=label(mode)), _words(planned, took)])
    if Param.PLANNED_WHOLE in ablation.params and ablation.wall_s is not None:
        planned = ablation.params[Param.PLANNED_WHOLE]
        rows.append([say("the whole, seconds"), _words(planned, ablation.wall_s)])
    return rows + _foreseen_rows(ablation, resolutions)


def _words(planned: str, took: float) -> str:
    return say("planned {planned}, took {took}", planned=planned, took=f"{took:.0f}")


def _foreseen_rows(
    ablation: Ablation, resolutions: Mapping[Target, Resolution | None]
) -> list[list[str]]:
    rows: list[list[str]] = []
    for target, found in resolutions.items():
        if found is None:
            continue
        pairs = (
            (Foreseen.DIFFERENCE, say("smallest difference called, {target}", target=say(target)),
             found.family),
            (Foreseen.MARGIN, say("smallest margin of “the same”, {target}", target=say(target)),
             found.margin),
        )  # fmt: skip
        rows += [
            [name, say("by a pilot {foreseen}, by the runs {found}",
                       foreseen=_range_words(ablation.params[param.of(target)]),
                       found=format_score(value))]
            for param, name, value in pairs
            if param.of(target) in ablation.params
        ]  # fmt: skip
    return rows


def _range_words(foreseen: str) -> str:
    """What a pilot foresaw: a range, in earlier versions one number."""
    return " – ".join(format_score(float(end)) for end in foreseen.split())
