"""Tables of the report: rows of ready text for the page, and the same numbers as CSV."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports.claims import Verdict
from reports.load import Ablation
from reports.results import Entry
from reports.study_results import study_table
from reports.style import format_score, label

Cell = dict[str, str]
Table = dict[str, dict[str, Entry]]
NONE = "–"


def score_cell(entry: Entry | None) -> Cell:
    """A score for the page: the mean, and the interval below it."""
    if entry is None or entry["mean"] is None:
        return {"value": NONE, "interval": ""}
    bounds = ""
    if entry["low"] is not None and entry["low"] != entry["high"]:
        bounds = f"{format_score(entry['low'])} – {format_score(entry['high'])}"
    return {"value": format_score(entry["mean"]), "interval": bounds}


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


def main_table(
    ablation: Ablation, target: str, guide: Table, tuned: Table, baselines: Table
) -> list[dict[str, Any]]:
    """Groups of rows for one target: guide's setting, tuned, references."""
    groups: list[dict[str, Any]] = [
        {"title": "Guide’s setting", "rows": [_row(m, e, target) for m, e in guide.items()]}
    ]
    moved = {mode: entries for mode, entries in tuned.items() if mode not in ablation.modes_kept}
    if moved:
        rows = [_row(mode, entries, target) for mode, entries in moved.items()]
        groups.append({"title": "Tuned setting, where tuning moved it", "rows": rows})
    rows = [_row(name, entries, target) for name, entries in baselines.items()]
    if rows:
        groups.append({"title": "References", "rows": rows})
    return groups


def _row(name: str, entries: dict[str, Entry], target: str) -> dict[str, Any]:
    scores = ("srocc", "plcc", "plcc_fitted", "krocc", "rmse", "train_val_gap_last")
    cells = [score_cell(entries.get(f"{measure}_{target}")) for measure in scores]
    return {
        "name": label(name),
        "cells": [*cells, percent_cell(entries.get(f"delta_saturation_{target}"))],
    }


def cost_table(guide: Table) -> list[dict[str, Any]]:
    """Alignment and cost by mode, guide's setting."""
    retention = ("alignment_retention", "alignment_retention_matched",
                 "alignment_retention_shuffled", "retention_r_at_1")  # fmt: skip
    return [
        {
            "name": label(mode),
            "cells": [
                *(score_cell(entries.get(name)) for name in retention),
                number_cell(entries.get("trainable_parameters"), 0),
                number_cell(entries.get("seconds_per_epoch"), 2),
                number_cell(entries.get("peak_memory_mb"), 0),
            ],
        }
        for mode, entries in guide.items()
    ]


def claim_rows(guide: Sequence[Verdict], tuned: Sequence[Verdict]) -> list[dict[str, str]]:
    """One row a claim and target, the tuned verdict beside the guide's (a dash if untuned)."""
    others = {(v.claim.id, v.target): v.verdict for v in tuned}
    shared: dict[tuple[str, str], list[str]] = {}  # targets not tested for the same reason
    for v in guide:
        shared.setdefault((v.claim.id, v.reason or v.target), []).append(v.target)
    return [
        {
            "question": verdict.claim.question,
            "rule": verdict.claim.rule,
            "target": ", ".join(shared[verdict.claim.id, verdict.reason or verdict.target]),
            "verdict": verdict.verdict,
            "effect": _effect(verdict),
            "n": str(verdict.n) if verdict.n else "",
            "contrast": verdict.contrast or verdict.reason,
            "tuned": others.get((verdict.claim.id, verdict.target), NONE),
        }
        for verdict in guide
        if shared[verdict.claim.id, verdict.reason or verdict.target][0] == verdict.target
    ]


def _effect(verdict: Verdict) -> str:
    if verdict.effect is None or verdict.low is None or verdict.high is None:
        return NONE
    low, high = format_score(verdict.low), format_score(verdict.high)
    return f"{format_score(verdict.effect)} [{low}, {high}]"


def write_tables(
    folder: Path, ablation: Ablation, results: dict[str, Any], guide: Sequence[Verdict]
) -> None:
    """Write every table as CSV."""
    frames = {
        "modes_guide": _long(results["guide_modes"]),
        "modes_tuned": _long(results["modes"]),
        "references": _long(results["baselines"]),
        "claims": pd.DataFrame(
            [{k: v for k, v in c.items() if k != "tuned"} for c in results["claims"]]
        ),
        "comparisons": pd.json_normalize(results["comparisons"]["guide"]),
        "cells": ablation.cells.drop(columns=["params", "undefined", "artifact_uri"]),
        "trials": ablation.trials,
        "studies": study_table(ablation),
        "runs": ablation.runs,
    }
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def _long(table: Table) -> pd.DataFrame:
    """`<name>.<measure>` as rows."""
    rows = [
        {"name": name, "measure": measure, **entry}
        for name, entries in table.items()
        for measure, entry in entries.items()
    ]
    return pd.DataFrame(rows)
