"""What an ablation was expected to take beside what it took."""

from qa_core.records.schema import Param
from reports.evidence.load import Ablation
from reports.figures.style import label
from reports.language import say


def is_planned(param: str) -> bool:
    """Whether a parameter of an ablation is a part of its plan."""
    return param.startswith(Param.PLANNED)


def plan_rows(ablation: Ablation) -> list[list[str]]:
    """Pairs of name and words: worker seconds of each mode, and the whole; none without a plan."""
    rows: list[list[str]] = []
    own = ablation.runs[ablation.runs["kind"].isin(["trial", "confirmation"])]
    for name, planned in sorted(ablation.params.items()):
        if is_planned(name) and name != Param.PLANNED_WHOLE:
            mode = name.removeprefix(Param.PLANNED).removesuffix("_s")
            took = own.loc[own["mode"] == mode, "seconds"].sum()
            rows.append([say("{mode}, worker seconds", mode=label(mode)), _words(planned, took)])
    if Param.PLANNED_WHOLE in ablation.params and ablation.wall_s is not None:
        planned = ablation.params[Param.PLANNED_WHOLE]
        rows.append([say("the whole, seconds"), _words(planned, ablation.wall_s)])
    return rows


def _words(planned: str, took: float) -> str:
    return say("planned {planned}, took {took}", planned=planned, took=f"{took:.0f}")
