"""Several ablations side by side, one column each, as the field's main tables are; never pooled."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from qa_core.measures.catalogue import PLCC, SROCC
from qa_core.records.schema import Reference
from qa_core.targets import TARGETS
from reports.evidence.frames import mode_rank
from reports.figures.style import label
from reports.language import language, say
from reports.paper.cover import banner, cover_facts
from reports.paper.latex import booktabs, cell_text
from reports.paper.published import published_content
from reports.paper.tables import claim_rows, long_table, score_cell
from reports.paper.typeset import compile_pdf
from reports.text.page_text import LONGEST_VALUE, page_text
from reports.verdicts.decided import Decided
from reports.verdicts.measured import Entry
from reports.verdicts.results import write_json

MEASURES = (SROCC, PLCC)


def write_side_by_side(decided: Mapping[str, Decided], out: Path) -> Path:
    """Write report.pdf, results.json and tables; returns the path of report.pdf.

    Args:
        decided: Ablations by the folder that the user named.
        out: Where to write.
    """
    tables = out / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    write_json(out / "results.json", {"ablations": {n: d.results for n, d in decided.items()}})
    content = _content(decided)
    for one in content["main"]:
        groups = [(g["title"], [[r["name"], *map(cell_text, r["cells"])] for r in g["rows"]])
                  for g in one["groups"]]  # fmt: skip
        text = booktabs(one["header"], groups, one["caption"])
        (tables / f"scores_{one['id']}.tex").write_text(text, encoding="utf-8")
    frames = [
        long_table(d.results[part]).assign(ablation=name, setting=setting)
        for name, d in decided.items()
        for part, setting in (("guide_modes", "guide"), ("modes", "tuned"), ("baselines", ""))
    ]
    pd.concat(frames).to_csv(tables / "scores.csv", index=False, lineterminator="\n")
    (out / "report.pdf").write_bytes(compile_pdf("side_by_side.typ", content, {}))
    return out / "report.pdf"


def _content(decided: Mapping[str, Decided]) -> dict[str, Any]:
    """Everything that side_by_side.typ reads."""
    names = _names(list(decided))
    columns = list(decided.values())
    marks = [(name, banner(d.ablation)) for name, d in zip(names, columns, strict=True)]
    facts = [cover_facts(d.ablation) for d in columns]
    return {
        "lang": language(),
        "banner": " · ".join(f"{name}: {mark}" for name, mark in marks if mark),
        "running_head": say("Ablations side by side"),
        "subtitle": say("Ablations side by side: {names}", names=say(", ").join(names)),
        "names": names,
        "facts": [[rows[0][0], *(row[1] for row in rows)] for rows in zip(*facts, strict=True)],
        "main": [_scores(names, columns, target) for target in TARGETS],
        "claims": _claims(columns),
        **published_content(
            {name: (d.ablation, d.results) for name, d in zip(names, columns, strict=True)}
        ),
    }


def _names(folders: Sequence[str]) -> list[str]:
    """Column titles: the last part of each path, the whole where that is not enough."""
    short = [Path(folder).name for folder in folders]
    chosen = short if len(set(short)) == len(short) else list(folders)
    return [page_text(name, LONGEST_VALUE) for name in chosen]


def _scores(names: Sequence[str], columns: Sequence[Decided], target: str) -> dict[str, Any]:
    """SROCC and PLCC of every row in every ablation; a dash where one has no such row."""
    parts = (
        (say("Guide’s setting"), "guide_modes"),
        (say("Tuned setting, the guide’s where tuning kept it"), "modes"),
        (say("References"), "baselines"),
    )
    groups = [
        {"title": title, "rows": [_row(name, part, columns, target) for name in rows]}
        for title, part in parts
        if (rows := _row_names(part, columns))
    ]
    return {
        "id": target,
        "header": [say("mode"), *(f"{n}: {m.heading}" for n in names for m in MEASURES)],
        "groups": groups,
        "caption": say(
            "Test scores for {target}, one column an ablation: mean over its splits and the 95 % "
            "interval of its design, unadjusted. Data and protocols differ between columns and "
            "are not pooled. A dash: undefined or not run, not zero.",
            target=target,
        ),
    }


def _row_names(part: str, columns: Sequence[Decided]) -> list[str]:
    found = dict.fromkeys(name for d in columns for name in d.results[part])
    if part != "baselines":
        return sorted(found, key=mode_rank)
    return sorted(found, key=lambda n: (*Reference, n).index(n))


def _row(name: str, part: str, columns: Sequence[Decided], target: str) -> dict[str, Any]:
    entries: list[Entry | None] = [
        None
        if part == "modes" and not d.ablation.is_tuned
        else d.results[part].get(name, {}).get(measure.key(target))
        for d in columns
        for measure in MEASURES
    ]
    return {"name": label(name), "cells": [score_cell(entry) for entry in entries]}


def _claims(columns: Sequence[Decided]) -> list[dict[str, Any]]:
    """One row a claim and target, one verdict an ablation."""
    asked = dict.fromkeys((v.claim.id, v.target) for d in columns for v in d.guide)
    found = [{(v.claim.id, v.target): v for v in d.guide} for d in columns]
    rows: list[dict[str, Any]] = []
    for key in asked:
        verdicts = [one.get(key) for one in found]
        cells = [
            claim_rows([v], [], d.ablation.is_smoke)[0] if v else None
            for v, d in zip(verdicts, columns, strict=True)
        ]
        first = next(cell for cell in cells if cell)
        rows.append({"question": first["question"], "target": first["target"], "cells": cells})
    return rows
