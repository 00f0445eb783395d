"""Where each mode fails, as tables: on the page, in the page for a browser, as CSV."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports.evidence.ablation import Ablation
from reports.figures.breakdown import compute_breakdown, level_words
from reports.figures.style import format_score, short
from reports.language import say, say_word
from reports.paper.tables import NONE, Cell
from reports.statistics import Interval
from reports.text.page_text import page_text
from reports.verdicts.breakdown import ALL, Level, Part, break_down

LONGEST_LEVEL = 40


def breakdown_content(ablation: Ablation) -> dict[str, Any]:
    """A table a target: as long as a page has room for, and whole."""
    targets = ablation.targets
    return {
        "breakdown_header": [
            say("level"), say("images"), say("prompts"), *(short(m) for m in ablation.mode_names)
        ],
        "breakdown": [_table(ablation, t, compute_breakdown(ablation, t)) for t in targets],
        "breakdown_whole": [_table(ablation, t, break_down(ablation, t)) for t in targets],
    }  # fmt: skip


def write_breakdown(folder: Path, ablation: Ablation) -> None:
    """Write every level as CSV, in English."""
    rows = [
        {
            "target": str(target),
            "attribute": str(part.attribute.name),
            "level": level.name,
            "mode": mode,
            "srocc": one.mean,
            "low": one.low,
            "high": one.high,
            "images": level.images,
            "prompts": level.prompts,
        }
        for target in ablation.targets
        for part in break_down(ablation, target)
        for level in part.levels
        for mode, one in level.scores.items()
    ]
    pd.DataFrame(rows).to_csv(folder / "breakdown.csv", index=False, lineterminator="\n")


def _table(ablation: Ablation, target: str, parts: Sequence[Part]) -> dict[str, Any]:
    groups = [
        {
            "title": "" if part.attribute.name == ALL else _fit(say_word(part.attribute.name)),
            "rows": [_row(ablation, part, level) for level in part.levels],
        }
        for part in parts
    ]
    return {
        "caption": say("SROCC within the levels, {target}, as in the figure.", target=target),
        "groups": groups if len(groups) > 1 else [],
    }


def _row(ablation: Ablation, part: Part, level: Level) -> dict[str, Any]:
    counts = [{"value": f"{n:,}", "interval": ""} for n in (level.images, level.prompts)]
    scores = [_cell(level.scores.get(mode)) for mode in ablation.mode_names]
    return {"name": _fit(level_words(part, level)), "cells": counts + scores}


def _fit(name: str) -> str:
    return page_text(name, LONGEST_LEVEL)


def _cell(score: Interval | None) -> Cell:
    if score is None or score.low is None or score.high is None:
        return {"value": NONE, "interval": ""}
    bounds = f"{format_score(score.low)} – {format_score(score.high)}"
    return {"value": format_score(score.mean), "interval": bounds}
