"""What a reader might look for and will not find, and why."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Reference, Setting
from qa_core.targets import TARGETS
from reports.evidence.ablation import Ablation
from reports.evidence.frames import select
from reports.figures.style import label
from reports.language import say, say_list
from reports.verdicts.decide import NOT_TESTED, Verdict
from reports.verdicts.measured import Entry

Section = dict[str, Any]
ERRORS_TOLD, LONGEST_ERROR = 5, 120


def on_the_cover(ablation: Ablation) -> list[str]:
    """The gaps that change how everything else is read."""
    found: list[str] = []
    if not ablation.complete:
        found.append(say("The ablation is unfinished: all figures are of the runs so far."))
    finished = set(ablation.mode_names)
    lost = [label(m) for m in ablation.modes["mode"] if m not in finished]
    if lost:
        found.append(say("No finished run of {modes}.", modes=say_list(lost)))
    absent = [say(t) for t in TARGETS if t not in ablation.targets]
    if absent:
        found.append(say("The data set has no {target} score.", target=say_list(absent)))
    if not ablation.is_tuned:
        found.append(say("Nothing was tuned: only the guide’s settings are shown."))
    return found


def missing_sections(
    ablation: Ablation,
    results: dict[str, Any],
    claims: Sequence[Verdict],
    figures: Sequence[Sequence[str]],
) -> list[Section]:
    """Titled lists for the page of missing pieces; sections without an item are left out.

    Args:
        ablation: The ablation.
        results: results.json.
        claims: Verdicts at the guide's setting.
        figures: Question and reason of each figure that would show nothing.
    """
    sections = [
        (say("Runs"), _runs(ablation) + _cells_left(ablation.arms)),
        (say("Reference rows"), _references(ablation, results["baselines"])),
        (say("Measures"), lacking_measures(results["guide_modes"])),
        (say("Figures"), [say("{figure} ({reason})", figure=q, reason=r) for q, r in figures]),
        (say("Claims not tested"), _claims(claims)),
    ]
    return [{"title": title, "items": items} for title, items in sections if items]


def _runs(ablation: Ablation) -> list[str]:
    """Cells that did not finish, and runs that failed."""
    items = _cells_left(ablation)
    items += _failures(ablation)
    told: list[str] = [] if ablation.predictions.empty else list(ablation.predictions["run_id"])
    lost = len(set(ablation.cells["run_id"]) - set(told))
    if lost:
        items.append(
            say(
                "{n} runs have no predictions any more: figures and intervals that rest on single "
                "images leave those runs out",
                n=str(lost),
            )
        )
    reasons = sorted({r.removeprefix("no tuning: ") for r in ablation.modes["tuned_reason"] if r})
    if not ablation.is_tuned and reasons:
        items.append(say("No tuning: {reason}", reason=reasons[0]))
    return items


def _failures(ablation: Ablation) -> list[str]:
    """How many runs failed, and of what most of them."""
    runs = ablation.runs
    errors = [
        _one_line(error) or say("no reason was noted")
        for status, error in zip(runs["status"], runs["error"], strict=True)
        if status in ("FAILED", "FAIL")
    ]
    if not errors:
        return []
    most = Counter(errors).most_common(ERRORS_TOLD)
    told = [f"{error} ({count})" for error, count in most]
    words = say("{n} runs failed, all of them in tables/runs.csv", n=str(len(errors)))
    return [f"{words}: {say('; ').join(told)}"]


def _one_line(error: str) -> str:
    printable = "".join(letter if letter.isprintable() else " " for letter in error)
    return " ".join(printable.split())[:LONGEST_ERROR]


def _cells_left(ablation: Ablation | None) -> list[str]:
    """Modes or arms, and settings, of which not all splits finished."""
    if ablation is None:
        return []
    items: list[str] = []
    for mode in ablation.modes["mode"]:
        for setting in (Setting.GUIDE,) if mode in ablation.modes_kept else Setting:
            runs = select(ablation.cells, mode=mode, setting=setting)["split"].value_counts()
            done = int((runs >= ablation.n_seeds).sum())
            planned = ablation.n_splits_of(setting)
            if done < planned:
                items.append(
                    say(
                        "{mode}, {setting}: {done} of {planned} splits finished",
                        mode=label(mode),
                        setting=setting,
                        done=str(done),
                        planned=str(planned),
                    )
                )
    return items


def _references(ablation: Ablation, baselines: dict[str, dict[str, Entry]]) -> list[str]:
    items: list[str] = []
    for name in Reference:
        row = baselines.get(name)
        gone = [t for t in ablation.targets if row is None or row[SROCC.key(t)]["mean"] is None]
        if not gone:
            continue
        reason = "not computed" if row is None else row[SROCC.key(gone[0])]["reason"]
        where = say_list([say(t) for t in gone])
        items.append(
            say("{row} for {targets}: {reason}", row=label(name), targets=where, reason=reason)
        )
    return items


def lacking_measures(modes: dict[str, dict[str, Entry]]) -> list[str]:
    """Measures that no split of a mode has, grouped by reason."""
    lacking: dict[tuple[str, str], list[str]] = {}
    for mode, entries in modes.items():
        for measure, entry in entries.items():
            if entry["mean"] is None:
                lacking.setdefault((measure, entry["reason"]), []).append(label(mode))
    grouped: dict[tuple[str, str], list[str]] = {}
    for (measure, reason), of in lacking.items():
        grouped.setdefault((say_list(of), reason), []).append(measure)
    return [
        say("{modes}: {measures} ({reason})", modes=of, measures=", ".join(names), reason=reason)
        for (of, reason), names in grouped.items()
    ]


def _claims(claims: Sequence[Verdict]) -> list[str]:
    reasons: dict[tuple[str, str], list[str]] = {}
    for verdict in claims:
        if verdict.verdict == NOT_TESTED:
            key = say(verdict.claim.question), say(verdict.reason)
            reasons.setdefault(key, []).append(say(verdict.target))
    return [
        say("{claim} ({targets}): {reason}", claim=claim, targets=say_list(of), reason=reason)
        for (claim, reason), of in reasons.items()
    ]
