"""What to take, and what a lift of residual learning comes from: a sentence each for the cover."""

from collections.abc import Sequence

from qa_core.measures.catalogue import EPOCH_SECONDS, GAP_LAST, PARAMETERS, RETENTION
from qa_core.measures.limits import GAP_LIMIT
from qa_core.records.schema import Reference
from qa_core.targets import TARGETS
from reports.figures.style import format_score, label
from reports.inference.decisions import Word
from reports.language import phrase, say, say_all
from reports.verdicts.measured import Entry


def recommendation_words(found: Entry) -> str:
    """`recommendation` of results.json in some sentences."""
    margin = f"{found['margin']:g}".removeprefix("0")
    said = _none_words(found, margin) if found["mode"] is None else _mode_words(found, margin)
    return say_all([said, *map(_unbeaten_words, found.get("unbeaten", []))])


def _unbeaten_words(one: Entry) -> str:
    """That training is not shown to pay on a target."""
    reference = label(one["reference"])
    if one["reference"] == Reference.FLOOR:
        reference = say("the floor, which sees no pixel")
    values = {"target": one["target"], "reference": reference, "score": format_score(one["mean"])}
    if one["every"]:
        return say(
            "On {target} every mode is shown to rank worse than {reference} ({score}).",
            **values,
        )
    return say("On {target} no mode is shown to rank better than {reference} ({score}).", **values)


def _mode_words(found: Entry, margin: str) -> str:
    """The recommended mode, and the best one beside it."""
    values = {
        "mode": label(found["mode"]),
        "margin": margin,
        "figures": say(", ").join([*_below(found), _figures(found["figures"][found["mode"]])]),
    }
    said = say(
        "Recommended: {mode}, the cheapest of the modes that are shown to be not worse than the"
        " best by more than {margin} SROCC on any target, at the guide’s setting ({figures}).",
        **values,
    )
    if found.get("n_targets") == 1:
        said = say(
            "Recommended: {mode}, the cheapest of the modes that are shown to be not worse than the"
            " best by more than {margin} SROCC, at the guide’s setting ({figures}).",
            **values,
        )
    best = found["best"]
    if best == found["mode"]:
        return say_all([said, say("It has the highest mean SROCC over the targets too.")])
    beside = say(
        "Highest mean SROCC over the targets: {mode} ({figures}).",
        mode=label(best),
        figures=_figures(found["figures"][best]),
    )
    return say_all([said, beside])


def _below(found: Entry) -> list[str]:
    """How far below the best the recommended mode may lie, where it is another."""
    low = found["candidates"][found["mode"]].get("lowest_holm")  # earlier versions noted none
    if found["mode"] == found["best"] or low is None:
        return []
    return [say("at most {n} below the best", n=format_score(max(0.0, -low)))]


def _none_words(found: Entry, margin: str) -> str:
    if "candidates" not in found:
        return say("No mode can be recommended: {reason}.", reason=say(found["reason"]))
    said = say(
        "No mode can be recommended: none is shown to be not worse than the best by more than"
        " {margin} SROCC on every target.",
        margin=margin,
    )
    if found.get("n_targets") == 1:
        said = say(
            "No mode can be recommended: none is shown to be not worse than the best by more than"
            " {margin} SROCC.",
            margin=margin,
        )
    needed = found.get("prompts_needed")
    if needed is None:
        return said
    words = say(
        "About {n} prompts would show it in four of five runs, if a mode is as good as the best.",
        n=f"{needed:,}",
    )
    if found.get("counted") == "images":
        words = say(
            "About {n} images would show it in four of five runs, if a mode is as good as the"
            " best.",
            n=f"{needed:,}",
        )
    return say_all([said, words])


def _figures(of: Entry) -> str:
    gaps = [of[GAP_LAST.key(t)] for t in TARGETS if of.get(GAP_LAST.key(t)) is not None]
    parts = [
        (PARAMETERS.key(), lambda v: say("{n} trained parameters", n=f"{v:,.0f}")),
        (EPOCH_SECONDS.key(), lambda v: say("{n} s an epoch", n=f"{v:.1f}")),
        (RETENTION.key(), lambda v: say("alignment retention {n}", n=format_score(v))),
    ]
    words = [tell(of[name]) for name, tell in parts if of.get(name) is not None]
    if gaps:
        gap = {"n": format_score(max(gaps)), "limit": format_score(GAP_LIMIT).rstrip("0")}
        words.append(say("largest train–validation gap {n}", **gap))
        if max(gaps) > GAP_LIMIT:
            words[-1] = say("largest train–validation gap {n}, above the limit of {limit}", **gap)
    return say(", ").join(words)


def earned_words(comparisons: Sequence[Entry], target: str) -> str:
    """What the bound earns and what skip and start earn; empty where the control was not run."""
    lift = _difference(comparisons, target, "residual", "traditional")
    bound = _difference(comparisons, target, "residual", "matched_direct")
    rest = _difference(comparisons, target, "matched_direct", "traditional")
    if lift is None or bound is None or rest is None:
        return ""
    return say(
        "On {target} residual is {lift} from traditional: the bound itself earns {bound}"
        " (residual − matched direct: {bound_verdict}), what it shares with that unbounded control"
        " earns {rest} (matched direct − traditional: {rest_verdict}).",
        target=target,
        lift=_signed(lift[0]),
        bound=_signed(bound[0]),
        bound_verdict=bound[1],
        rest=_signed(rest[0]),
        rest_verdict=rest[1],
    )


_VERDICTS = {
    Word.BETTER: phrase("shown to be above 0"),
    Word.WORSE: phrase("shown to be below 0"),
    Word.SAME: phrase("the same within the margin"),
    Word.NOT_DECIDED: phrase("not decided"),
}


def _difference(
    comparisons: Sequence[Entry], target: str, first: str, second: str
) -> tuple[float, str] | None:
    """Mean of first − second and its verdict in words."""
    for one in comparisons:
        if one["target"] != target or {one["first"], one["second"]} != {first, second}:
            continue
        mean, verdict = float(one["difference"]["mean"]), Word(one["verdict"])
        if one["first"] == second:
            mean, verdict = -mean, verdict.turned
        return mean, say(_VERDICTS[verdict])
    return None


def _signed(value: float) -> str:
    text = format_score(value)
    return f"+{text}" if value > 0 and float(text) else text
