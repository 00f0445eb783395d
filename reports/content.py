"""What the page shows, as plain data: text stays text and never becomes markup."""

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.claims import Verdict
from reports.frames import select
from reports.load import Ablation
from reports.results import Entry
from reports.style import format_score, label
from reports.tables import claim_rows, cost_table, main_table, score_cell
from reports.wording import resolution, verdict_in_words

LONGEST_PROMPT = 180
LONGEST_VALUE = 60
WORST_IMAGES = 12
_VERSIONS = ("python", "torch", "open_clip", "optuna", "mlflow")
_ON_COVER = {
    "profile", "protocol", "data_name", "data_version", "data_sha256", "n_images", "n_prompts",
    "n_generators", "targets", "backbone", "pretrained", "backbone_sha256", "image_depth",
    "n_splits", "n_trials", "epochs", "code_version", "machine", "notes",
}  # fmt: skip


def page_text(text: object, longest: int) -> str:
    """Text fit for a page: one line, no control characters, cut with its length named."""
    raw = str(text)
    clean = "".join(" " if unicodedata.category(ch) in ("Cc", "Cs") else ch for ch in raw)
    clean = " ".join(clean.split())
    if len(clean) <= longest:
        return clean
    return f"{clean[:longest].rstrip()} … ({len(raw):,} characters)"


def banner(ablation: Ablation) -> str:
    """What every page must say: a smoke run, an unfinished one, both, or nothing."""
    words = ["INCOMPLETE"] if not ablation.complete else []
    return " · ".join(words + (["smoke run: proves nothing"] if ablation.is_smoke else []))


def build_content(
    ablation: Ablation,
    results: dict[str, Any],
    verdicts: tuple[Sequence[Verdict], Sequence[Verdict]],
    figures: list[dict[str, str]],
) -> dict[str, Any]:
    """Everything that template.typ reads."""
    guide, tuned = verdicts
    modes, baselines = results["guide_modes"], results["baselines"]
    return {
        "banner": banner(ablation),
        "data_name": page_text(ablation.params.get("data_name", "unnamed data"), LONGEST_VALUE),
        "facts": cover_facts(ablation),
        "notes": _notes(ablation),
        "missing": missing_pieces(ablation, results),
        "resolution": [_resolution_words(ablation, t, guide) for t in ablation.targets],
        "verdict": verdict_in_words(ablation, modes, baselines, guide),
        "main": [
            {"target": t, "groups": main_table(ablation, t, modes, results["modes"], baselines)}
            for t in ablation.targets
        ],
        "cost": cost_table(modes),
        "pooled": pooled_rows(results["pooled_out_of_fold"], ablation.targets),
        "claims": claim_rows(guide, tuned),
        "family": _family_size(guide),
        "figures": figures,
        "worst": worst_cases(ablation),
        "tuning": tuning_rows(ablation),
        "configuration": [
            [key, page_text(value, LONGEST_VALUE)]
            for key, value in sorted(ablation.params.items())
            if key not in _ON_COVER and key not in _VERSIONS
        ],
        "versions": [
            [key, page_text(ablation.params[key], LONGEST_VALUE)]
            for key in _VERSIONS
            if key in ablation.params
        ],
        "runs": run_rows(ablation.runs),
        "n_splits": ablation.params.get("n_splits", "?"),
        "variance_factor": format_score(ablation.variance_factor),
    }


def cover_facts(ablation: Ablation) -> list[list[str]]:
    """What ran, as pairs of name and value."""
    p = {key: page_text(value, LONGEST_VALUE) for key, value in ablation.params.items()}

    def get(key: str) -> str:
        return p.get(key) or "unknown"

    wall = "still running, or cut off" if ablation.wall_s is None else _duration(ablation.wall_s)
    cells = ablation.cells
    return [
        ["Data", f"{get('data_name')}, version {get('data_version')}"],
        ["Data hash", get("data_sha256")[:16]],
        ["Size", f"{get('n_images')} images, {get('n_prompts')} prompts, "
                 f"{get('n_generators')} generators"],
        ["Targets", " and ".join(ablation.targets)],
        ["Backbone", f"{get('backbone')} ({get('pretrained')}), {get('image_depth')} image blocks"],
        ["Backbone hash", get("backbone_sha256")[:16]],
        ["Protocol", f"{get('protocol')}, {get('n_splits')} prompt-disjoint splits"],
        ["Training", f"{get('epochs')} epochs; profile {get('profile')}"],
        ["Tuning", f"{get('n_trials')} trials a mode" if ablation.is_tuned else
                   "none: the guide's settings only"],
        ["Runs", f"{len(cells)} confirmation runs, {len(ablation.trials)} trials, "
                 f"{len(ablation.runs)} in all"],
        ["Code", get("code_version")],
        ["Machine", get("machine")],
        ["Wall time", wall],
    ]  # fmt: skip


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _notes(ablation: Ablation) -> list[str]:
    try:
        notes = json.loads(ablation.params.get("notes") or "[]")
    except json.JSONDecodeError:
        notes = [ablation.params["notes"]]
    return [page_text(note, 300) for note in (notes if isinstance(notes, list) else [notes])]


def missing_pieces(ablation: Ablation, results: dict[str, Any]) -> list[str]:
    """What a reader might look for and will not find, and why."""
    missing: list[str] = []
    finished = set(ablation.mode_names)
    lost = [label(m) for m in ablation.modes["mode"] if m not in finished]
    if lost:
        missing.append(f"No finished run of {', '.join(lost)}.")
    absent = [t for t in ("quality", "consistency") if t not in ablation.targets]
    if absent:
        missing.append(f"The data set has no {' or '.join(absent)} score.")
    if not ablation.is_tuned:
        reasons = [r for r in ablation.modes["tuned_reason"] if r]
        why = f" ({page_text(reasons[0], 200)})" if reasons else ""
        missing.append(f"Nothing was tuned{why}: only the guide's settings are shown.")
    for name in ("zeroshot", "ridge", "floor", "ceiling"):
        row = results["baselines"].get(name)
        gone = [t for t in ablation.targets if row is None or row[f"srocc_{t}"]["mean"] is None]
        if gone:
            why = "" if row is None else f" ({row[f'srocc_{gone[0]}']['reason']})"
            missing.append(f"No {label(name)} reference for {' and '.join(gone)}{why}.")
    failed = sum(status in ("FAILED", "FAIL") for status in ablation.runs["status"])
    if failed:
        missing.append(f"{failed} runs failed; the appendix lists them with their errors.")
    return missing


def _family_size(verdicts: Sequence[Verdict]) -> int:
    return sum(v.verdict != "not tested" and v.claim.family == "accuracy" for v in verdicts)


def _resolution_words(ablation: Ablation, target: str, guide: Sequence[Verdict]) -> str:
    found = resolution(ablation, target, _family_size(guide))
    if found.single is None or found.family is None:
        return f"{target}: unknown, since no two modes share two splits"
    return (
        f"{target}: {format_score(found.single)} for one comparison planned beforehand, "
        f"{format_score(found.family)} at the strictest step of Holm’s family"
    )


def pooled_rows(
    pooled: dict[str, dict[str, Entry]], targets: Sequence[str]
) -> list[dict[str, Any]]:
    """The descriptive out-of-fold table; empty unless the protocol is k-fold."""
    return [
        {"name": label(mode), "cells": [score_cell(row.get(f"srocc_{t}")) for t in targets]}
        for mode, row in pooled.items()
    ]


def worst_cases(ablation: Ablation) -> list[dict[str, Any]]:
    """Test images with the largest error of any mode that left a thumbnail, largest first."""
    table = ablation.predictions
    if table.empty or not ablation.thumbnails:
        return []
    pictured = pd.DataFrame(list(ablation.thumbnails), columns=["run_id", "row"])
    shown = select(table, setting="guide").merge(pictured, on=["run_id", "row"])
    parts = [(t, f"mos_{t}", t[0]) for t in ablation.targets]
    errors = pd.DataFrame({t: (shown[p] - shown[mos]).abs() for t, mos, p in parts
                           if {mos, p} <= set(shown.columns)})  # fmt: skip
    if errors.empty:
        return []
    shown = shown.assign(error=errors.max(axis=1)).dropna(subset=["error"])
    shown = shown.sort_values(
        ["error", "row", "mode", "split"], ascending=[False, True, True, True]
    )
    chosen = shown.drop_duplicates("row").head(WORST_IMAGES)
    return [_worst_case(case, parts, ablation.thumbnails) for case in chosen.to_dict("records")]


def _worst_case(
    case: dict[Any, Any], parts: list[tuple[str, str, str]],
    thumbnails: dict[tuple[str, int], Path],
) -> dict[str, Any]:  # fmt: skip
    scores = [
        f"{target}: {format_score(case[mos])} by people, {format_score(case[part])} predicted"
        for target, mos, part in parts
        if np.isfinite(case.get(mos, np.nan)) and np.isfinite(case.get(part, np.nan))
    ]
    return {
        "source": str(thumbnails[case["run_id"], case["row"]]),
        "prompt": page_text(case["prompt"], LONGEST_PROMPT),
        "scores": scores,
        "by": f"{label(case['mode'])}, split {case['split']}",
    }


def tuning_rows(ablation: Ablation) -> list[dict[str, str]]:
    """Guide's and tuned setting of each mode in words."""
    return [
        {
            "name": label(row["mode"]),
            "guide": _setting_words(row["guide_setting"]),
            "tuned": _tuned_words(row),
            "reason": page_text(row["tuned_reason"], 220),
        }
        for row in ablation.modes.to_dict("records")
    ]


def _tuned_words(row: dict[Any, Any]) -> str:
    if row["tuned_setting"] is None:
        return "not tuned"
    return "the guide’s" if row["tuned_is_guide"] else _setting_words(row["tuned_setting"])


def _setting_words(setting: dict[str, Any]) -> str:
    names = {
        "freeze_layers": "frozen",
        "residual_scale_q": "scale q",
        "residual_scale_c": "scale c",
    }
    words = [f"{names.get(k, k)} {v:.3g}" if isinstance(v, int | float) else f"{k} {v}"
             for k, v in setting.items() if v is not None]  # fmt: skip
    return ", ".join(words) or "the defaults"


def run_rows(runs: pd.DataFrame) -> list[list[str]]:
    """Every run in one line: what it was, how it ended."""
    rows: list[list[str]] = []
    for run in runs.to_dict("records"):
        seconds = "" if pd.isna(run["seconds"]) else f"{run['seconds']:.1f}"
        what = label(run["mode"]) if run["mode"] else ""
        rows.append([
            run["run_id"][:8], run["kind"], what, run["setting"], str(run["index"]), run["seed"],
            run["status"].lower(), seconds, page_text(run["error"], 120),
        ])  # fmt: skip
    return rows
