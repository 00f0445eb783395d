"""Tables of the report: rows of ready text for the page; the same numbers as CSV and LaTeX."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from qa_core.measures import catalogue
from qa_core.measures.catalogue import SROCC, Measure
from qa_core.records.schema import Setting
from reports.evidence.ablation import Ablation
from reports.figures.style import format_score, has_label, label
from reports.language import say
from reports.paper.latex import booktabs, cell_text
from reports.statistics import told_bounds
from reports.verdicts.decide import NOT_TESTED, Verdict
from reports.verdicts.measured import Entry
from reports.verdicts.study_results import study_table

Cell = dict[str, str]
Table = dict[str, dict[str, Entry]]
NONE = "–"
DIFFERENCE = (-2.0, 2.0)
"""Least and largest difference of two SROCCs."""


def score_cell(entry: Entry | None, scale: tuple[float, float] = SROCC.scale) -> Cell:
    """A score for the page: the mean, and the interval below it."""
    if entry is None or entry["mean"] is None:
        return {"value": NONE, "interval": ""}
    words = ""
    if entry["low"] is not None and entry["low"] == entry["high"]:
        words = say("in every split")
    elif entry["low"] is not None:
        bounds = told_bounds(entry["low"], entry["high"], scale)
        words = " – ".join(map(format_score, bounds)) if bounds else say("cannot be told")
    return {"value": format_score(entry["mean"]), "interval": words}


def percent_cell(entry: Entry | None) -> Cell:
    """A share in per cent."""
    if entry is None or entry["mean"] is None:
        return {"value": NONE, "interval": ""}
    return {"value": f"{100 * entry['mean']:.1f} %", "interval": ""}


def number_cell(entry: Entry | None, digits: int) -> Cell:
    """A plain number, thousands apart."""
    if entry is None or entry["mean"] is None:
        return {"value": NONE, "interval": ""}
    return {"value": f"{entry['mean']:,.{digits}f}", "interval": ""}


CELLS = {
    "share": percent_cell,
    "count": partial(number_cell, digits=0),
    "seconds": partial(number_cell, digits=2),
}
"""What writes a cell of a measure that is no score, by its unit."""


def measure_cell(measure: Measure, entry: Entry | None) -> Cell:
    """A cell of a measure."""
    if measure.unit == "score":
        return score_cell(entry, measure.scale)
    return CELLS[measure.unit](entry)


def main_header() -> list[str]:
    """Column titles of `main_table`."""
    return [say("mode"), *(say(m.heading) for m in _columns(catalogue.per_target()))]


def cost_header() -> list[str]:
    """Column titles of `cost_table`."""
    return [say("mode"), *(say(m.heading) for m in _columns(catalogue.overall()))]


def main_table(
    ablation: Ablation, target: str, guide: Table, tuned: Table, baselines: Table
) -> list[dict[str, Any]]:
    """Groups of rows for one target: guide's setting, tuned, references."""
    groups: list[dict[str, Any]] = [
        {"title": say("Guide’s setting"), "rows": [_row(m, e, target) for m, e in guide.items()]}
    ]
    moved = {mode: entries for mode, entries in tuned.items() if mode not in ablation.modes_kept}
    if moved:
        rows = [_row(mode, entries, target) for mode, entries in moved.items()]
        groups.append({"title": _tuned_title(ablation), "rows": rows})
    rows = [_row(name, entries, target) for name, entries in baselines.items()]
    if rows:
        groups.append({"title": say("References"), "rows": rows})
    return groups


def _tuned_title(ablation: Ablation) -> str:
    n_splits = ablation.n_splits_of(Setting.TUNED)
    if n_splits == ablation.n_splits_of(Setting.GUIDE):
        return say("Tuned setting, where tuning moved it")
    return say("Tuned setting, where tuning moved it, on the first {n} splits", n=str(n_splits))


def _row(name: str, entries: dict[str, Entry], target: str) -> dict[str, Any]:
    shown = _columns(catalogue.per_target())
    cells = [measure_cell(measure, entries.get(measure.key(target))) for measure in shown]
    return {"name": label(name), "cells": cells}


def cost_table(guide: Table) -> list[dict[str, Any]]:
    """Alignment and cost by mode, guide's setting."""
    return [
        {
            "name": label(mode),
            "cells": [measure_cell(m, entries.get(m.key())) for m in _columns(catalogue.overall())],
        }
        for mode, entries in guide.items()
    ]


def _columns(measures: Sequence[Measure]) -> list[Measure]:
    return [measure for measure in measures if measure.heading]


def glossary() -> list[list[str]]:
    """What each column of the tables is: name and a line."""
    return [[say(m.heading), say(m.words)] for m in _columns(catalogue.MEASURES)]


def claim_rows(
    guide: Sequence[Verdict], tuned: Sequence[Verdict], proves_nothing: bool = False
) -> list[dict[str, str]]:
    """One row a claim and target, the tuned verdict beside the guide's (a dash if untuned).

    `colour` and `tuned_colour` keep the verdict in English, by which the page colours it; where a
    run proves nothing, its verdicts look as those that were not tested.
    """

    def colour_of(kind: str) -> str:
        return NOT_TESTED if proves_nothing else kind

    others = {(v.claim.id, v.target): (v.verdict, v.kind) for v in tuned}
    shared: dict[tuple[str, str], list[str]] = {}  # targets not tested for the same reason
    for v in guide:
        shared.setdefault((v.claim.id, v.reason or v.target), []).append(v.target)
    return [
        {
            "question": say(verdict.claim.question),
            "rule": say(verdict.claim.rule),
            "target": say(", ").join(
                say(t) for t in shared[verdict.claim.id, verdict.reason or verdict.target]
            ),
            "verdict": say(verdict.verdict),
            "colour": colour_of(verdict.kind),
            "effect": _effect(verdict),
            "n": str(verdict.n) if verdict.n else "",
            "contrast": contrast_words(verdict.contrast) or say(verdict.reason),
            "tuned": say(others.get((verdict.claim.id, verdict.target), (NONE, NONE))[0]),
            "tuned_colour": colour_of(
                others.get((verdict.claim.id, verdict.target), (NONE, NONE))[1]
            ),
        }
        for verdict in guide
        if shared[verdict.claim.id, verdict.reason or verdict.target][0] == verdict.target
    ]


def contrast_words(contrast: str) -> str:
    """A contrast's sides in the report's language, modes by their names."""
    sides = [side.strip() for side in contrast.split(" − ")]
    return " − ".join(_side(side) for side in sides)


def _side(side: str) -> str:
    mode = side.replace(" ", "_")
    return label(mode) if has_label(mode) else say(side)


def _effect(verdict: Verdict) -> str:
    if verdict.effect is None or verdict.low is None or verdict.high is None:
        return NONE
    scale = DIFFERENCE if verdict.in_srocc else (-math.inf, math.inf)
    bounds = told_bounds(verdict.low, verdict.high, scale)
    words = ", ".join(map(format_score, bounds)) if bounds else say("cannot be told")
    return f"{format_score(verdict.effect)} [{words}]"


def write_csv(
    folder: Path, ablation: Ablation, results: dict[str, Any], commands: list[dict[str, str]]
) -> None:
    """Write every table as CSV, in English whatever the report's language."""
    claims = [{k: v for k, v in c.items() if k != "tuned"} for c in results["claims"]]
    frames = {
        "modes_guide": long_table(results["guide_modes"]),
        "modes_tuned": long_table(results["modes"]),
        "references": long_table(results["baselines"]),
        "claims": pd.DataFrame(claims),
        "comparisons": pd.json_normalize(results["comparisons"]["guide"]),
        "cells": ablation.cells.drop(columns=["params", "undefined", "artifact_uri"]),
        "trials": ablation.trials,
        "studies": study_table(ablation),
        "runs": ablation.runs,
        "commands": pd.DataFrame(commands),
    }
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def write_latex(folder: Path, content: dict[str, Any]) -> None:
    """Write the page's tables as LaTeX (booktabs): scores by target, cost, claims."""
    for one in content["main"]:
        groups = [(g["title"], [_latex_row(row) for row in g["rows"]]) for g in one["groups"]]
        text = booktabs(content["main_header"], groups, one["caption"])
        (folder / f"scores_{one['id']}.tex").write_text(text, encoding="utf-8")
    rows = [_latex_row(row) for row in content["cost"]]
    text = booktabs(content["cost_header"], [("", rows)], content["cost_caption"])
    (folder / "cost.tex").write_text(text, encoding="utf-8")
    claims = [[r[k] for k in ("question", "target", "verdict", "effect", "n", "tuned")]
              for r in content["claims"]]  # fmt: skip
    header = [say(k) for k in ("claim", "target", "verdict", "effect", "n", "tuned")]
    text = booktabs(header, [("", claims)], content["claims_note"])
    (folder / "claims.tex").write_text(text, encoding="utf-8")


def _latex_row(row: dict[str, Any]) -> list[str]:
    return [row["name"], *(cell_text(cell) for cell in row["cells"])]


def long_table(table: Table) -> pd.DataFrame:
    """`<name>.<measure>` as rows."""
    rows = [
        {"name": name, "measure": measure, **entry}
        for name, entries in table.items()
        for measure, entry in entries.items()
    ]
    return pd.DataFrame(rows)
