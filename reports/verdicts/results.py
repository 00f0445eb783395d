"""results.json: every measure with its interval, the claims, and what they rest on."""

import json
import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qa_core.measures import catalogue
from qa_core.records.schema import Param, Setting
from qa_core.system.files import written_whole
from reports.evidence.ablation import Ablation
from reports.evidence.frames import select
from reports.inference.decisions import Word
from reports.statistics import (
    EXACT_SIGN_FLIP_LIMIT,
    Interval,
    iqm,
    share_of_splits_won,
    sign_flip_p,
)
from reports.verdicts.decide import Verdict
from reports.verdicts.measured import Entry, Measured, measure, measure_mode, reference_side
from reports.verdicts.one_part import lifts_on_parts, part_intervals
from reports.verdicts.pairs import Pair, decide_pairs
from reports.verdicts.recommend import recommend
from reports.verdicts.study_results import study_entries


def measures(targets: Sequence[str]) -> dict[str, str]:
    """All measures of results.json for these targets, with the metric each is read from."""
    names = {
        measure.key(target): measure.logged(target)
        for measure in catalogue.per_target()
        for target in targets
    }
    return names | {measure.key(): measure.logged() for measure in catalogue.overall()}


def as_entry(interval: Interval) -> Entry:
    """An interval as results.json holds it; undefined bounds are null, never NaN."""
    entry: Entry = {
        "mean": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "n": interval.n,
        "interval": interval.kind,
    }
    if interval.low is None:
        entry["reason"] = "a single split has no spread"
    return entry


def not_applicable(reason: str) -> Entry:
    """An entry without a value, and why."""
    return {"mean": None, "low": None, "high": None, "n": 0, "reason": reason}


def mode_entries(ablation: Ablation, setting: str) -> dict[str, dict[str, Entry]]:
    """`<mode>.<measure>` at a setting, over splits."""
    table: dict[str, dict[str, Entry]] = {}
    for mode in ablation.mode_names:
        table[mode] = {
            name: _entry(
                measure_mode(ablation, mode, metric, setting),
                ablation,
                ablation.why_undefined(mode, metric),
            )
            for name, metric in measures(ablation.targets).items()
        }
        if ablation.has_one_part:
            tested = select(ablation.predictions, mode=mode, setting=Setting.GUIDE)
            table[mode] |= _part_entries(tested, ablation, table[mode])
    return table


def reference_entries(ablation: Ablation) -> dict[str, dict[str, Entry]]:
    """`<reference>.<measure>` for the rows beside the modes."""
    table: dict[str, dict[str, Entry]] = {}
    for name in ablation.reference_names:
        side = reference_side(ablation, name, Setting.GUIDE)
        table[name] = {
            one.key(target): _entry(
                measure(ablation.design, [(1.0, side)], one.logged(target)),
                ablation,
                _reference_reason(side.cells, one.logged(target)),
            )
            for one in catalogue.of_references()
            for target in ablation.targets
        }
        if ablation.has_one_part and len(ablation.reference_predictions):
            tested = select(ablation.reference_predictions, reference=name)
            table[name] |= _part_entries(tested, ablation, table[name])
    return table


def _part_entries(
    predictions: pd.DataFrame, ablation: Ablation, by_split: dict[str, Entry]
) -> dict[str, Entry]:
    """Entries with intervals; what is undefined in every split stays so.

    A floor that is constant in each fold would else be ranked by its folds' offsets alone.
    """
    intervals = part_intervals(predictions, ablation.params[Param.PROTOCOL])
    return {
        name: as_entry(interval)
        for name, interval in intervals.items()
        if by_split[name]["mean"] is not None
    }


def _reference_reason(rows: pd.DataFrame, metric: str) -> str:
    for reasons in rows["undefined"]:
        if metric in reasons:
            return str(reasons[metric])
    return "not defined for this reference"


def _entry(measured: Measured, ablation: Ablation, reason: str) -> Entry:
    if measured.by_split.empty:
        return not_applicable(reason)
    if ablation.has_one_part:
        reason = "its splits are no re-splits, whose spread would tell"
        return as_entry(ablation.interval(measured.array)) | {"reason": reason}
    return as_entry(measured.interval)


def comparisons(ablation: Ablation, setting: str) -> list[Entry]:
    """Every pair of modes on test SROCC: difference, verdict, and what describes these splits."""
    if not ablation.has_one_part:
        return [_comparison(pair) for pair in decide_pairs(ablation, setting)]
    lifts = lifts_on_parts(ablation)
    reason = "one test part decides nothing: its bootstrap tells no training from another"
    return [
        {
            "target": target,
            "first": a,
            "second": b,
            "difference": as_entry(lifts[target, a, b]),
            "verdict": Word.NOT_DECIDED,
            "reason": reason,
        }
        for target in ablation.targets
        for a, b in combinations(ablation.mode_names, 2)
        if (target, a, b) in lifts
    ]


def _comparison(pair: Pair) -> Entry:
    differences, interval, decision = pair.measured.array, pair.measured.interval, pair.decision
    exact = differences.size <= EXACT_SIGN_FLIP_LIMIT
    entry: Entry = {
        "target": pair.target,
        "first": pair.first,
        "second": pair.second,
        "difference": as_entry(interval),
        "verdict": pair.verdict,
        "family": pair.family,
        "p_unadjusted": interval.p,
        "descriptive": {
            "iqm": iqm(differences),
            "share_of_splits_won": share_of_splits_won(differences, np.zeros_like(differences)),
            "sign_flip_p": sign_flip_p(differences) if exact else None,
        },
    }
    if decision is not None:
        entry |= {
            "low_holm": decision.low,
            "high_holm": decision.high,
            "p_holm": decision.p_difference,
            "p_same_holm": decision.p_same,
            "within_margin": decision.within_margin,
        }
    return entry


def claim_entry(verdict: Verdict) -> Entry:
    """A verdict as results.json lists it.

    The cost claim's effect is a ratio of times, so its keys say so: a consumer that compares
    two runs leaves out keys of time.
    """
    prefix = "seconds_" if verdict.target == "cost" else ""
    entry: Entry = dict.fromkeys(("effect", "low", "high"))
    entry |= {
        "id": verdict.claim.id,
        "target": verdict.target,
        "verdict": str(verdict.verdict),
        "family": verdict.claim.family,
        f"{prefix}effect": verdict.effect,
        f"{prefix}low": verdict.low,
        f"{prefix}high": verdict.high,
        "n": verdict.n,
        f"{prefix}p_holm": verdict.p,
        "null": verdict.null,
        "contrast": verdict.contrast,
        "rule": verdict.claim.rule,
    }
    if verdict.reason:
        entry["reason"] = verdict.reason
    return entry


def build_results(
    ablation: Ablation,
    guide: Sequence[Verdict],
    tuned: Sequence[Verdict],
    pooled: dict[str, dict[str, Entry]],
) -> Entry:
    """The whole of results.json."""
    tuned_verdicts = {(v.claim.id, v.target): claim_entry(v) for v in tuned}
    claims: list[Entry] = []
    for verdict in guide:
        entry = claim_entry(verdict)
        entry["tuned"] = tuned_verdicts.get((verdict.claim.id, verdict.target))
        claims.append(entry)
    at_guide, baselines = mode_entries(ablation, Setting.GUIDE), reference_entries(ablation)
    return {
        "recommendation": recommend(ablation, at_guide, baselines),
        "modes": mode_entries(ablation, Setting.TUNED),
        "guide_modes": at_guide,
        "baselines": baselines,
        "claims": claims,
        "comparisons": {s: comparisons(ablation, s) for s in Setting},
        "pooled_out_of_fold": pooled,
        "studies": study_entries(ablation),
        "tuning": {
            row["mode"]: {
                "guide": row["guide_setting"],
                "tuned": row["tuned_setting"],
                "kept_guide": bool(row["tuned_is_guide"]),
                "reason": row["tuned_reason"],
            }
            for row in ablation.modes.to_dict("records")
        },
        "margin": ablation.margin,
        "provenance": dict(ablation.params) | {"wall_s": ablation.wall_s, "run_id": ablation.id},
        "complete": ablation.complete,
        "smoke": ablation.is_smoke,
    }


def write_json(path: Path, value: object) -> None:
    """Write JSON with sorted keys; a NaN anywhere is an error."""
    text = json.dumps(_plain(value), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with written_whole(path) as partial:  # whoever reads it meanwhile finds the one before
        partial.write_text(text + "\n", encoding="utf-8", errors="replace")


def _plain(value: Any) -> Any:
    """NumPy scalars as Python's own; NaN and infinities as null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
