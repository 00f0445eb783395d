"""What the page shows, as plain data: text stays text and never becomes markup."""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Param, Setting
from qa_core.targets import Target
from reports.evidence.commands import ablation_command, cell_commands, study_command
from reports.evidence.frames import select
from reports.evidence.load import Ablation
from reports.figures.style import format_score, label
from reports.language import language, say, say_all, say_list
from reports.paper.tables import (
    claim_rows,
    cost_header,
    cost_table,
    glossary,
    main_header,
    main_table,
    score_cell,
)
from reports.text.advice import earned_words, recommendation_words
from reports.text.missing import missing_sections, on_the_cover
from reports.text.resolution import Resolution, find_resolution, resolution_words
from reports.text.standing import unbeaten_in_words
from reports.text.time_taken import is_planned, plan_rows
from reports.text.wording import claims_in_words, protocol_words, verdict_in_words
from reports.verdicts.decide import PRIMARY, Verdict
from reports.verdicts.measured import Entry

LONGEST_PROMPT = 180
LONGEST_VALUE = 60
LONGEST_COMMAND = 700
WORST_IMAGES = 10
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
    words = [say("INCOMPLETE")] if not ablation.complete else []
    return " · ".join(words + ([say("smoke run: proves nothing")] if ablation.is_smoke else []))


def build_content(
    ablation: Ablation,
    results: dict[str, Any],
    verdicts: tuple[Sequence[Verdict], Sequence[Verdict]],
    figures: list[dict[str, str]],
    not_drawn: list[list[str]],
) -> dict[str, Any]:
    """Everything that template.typ reads."""
    guide, tuned = verdicts
    modes, baselines = results["guide_modes"], results["baselines"]
    data_name = page_text(ablation.params.get(Param.DATA_NAME, "unnamed data"), LONGEST_VALUE)
    size = _family_size(results)
    resolutions = {t: find_resolution(ablation, t, size) for t in ablation.targets}
    return table_content(ablation, results, guide) | {
        "lang": language(),
        "banner": banner(ablation),
        "running_head": say("Ablation on {data}", data=data_name),
        "subtitle": say("An ablation of fine-tuning modes on {data}", data=data_name),
        "facts": cover_facts(ablation),
        "notes": [*on_the_cover(ablation), *_notes(ablation)],
        "resolution": [resolution_words(ablation, t, found) for t, found in resolutions.items()],
        "recommendation": recommendation_words(results["recommendation"]),
        "earned": _earned(ablation, results),
        "claims_in_words": claims_in_words(guide),
        "in_words": verdict_in_words(ablation, modes, baselines),
        "pooled": pooled_rows(results["pooled_out_of_fold"], ablation.targets),
        "pooled_header": [say("mode"), *(say(t) for t in ablation.targets)],
        "pooled_caption": say(
            "Descriptive: SROCC over the pooled out-of-fold predictions, averaged over repeats, "
            "with a 95 % bootstrap interval over prompts. Folds are predicted by different models, "
            "whose offsets mix into these ranks; no verdict rests on them."
        ),
        "claims": claim_rows(guide, tuned),
        "figures": figures,
        "missing": missing_sections(ablation, results, guide, not_drawn),
        "worst": worst_cases(ablation),
        "tuning": [row for one in _with_arms(ablation) for row in tuning_rows(one)],
        "configuration": _configuration(ablation, resolutions),
        "commands": [
            [f"{label(mode)}, {say(setting)}", page_text(command, LONGEST_COMMAND)]
            for one in _with_arms(ablation)
            for mode, setting, command in cell_commands(one)
        ],
        "commands_note": _commands_note(ablation),
        "study_commands": [
            [say("study of {study}", study=name.replace("_", "-")), study_command(ablation, study)]
            for name, study in ablation.studies.items()
        ],
        "ablation_command": page_text(ablation_command(ablation), LONGEST_COMMAND),
        "glossary": glossary(),
    }


def table_content(
    ablation: Ablation, results: dict[str, Any], guide: Sequence[Verdict]
) -> dict[str, Any]:
    """Main tables and cost with their headers and captions."""
    modes, baselines = results["guide_modes"], results["baselines"]
    n_splits = ablation.params.get(Param.N_SPLITS, "?")
    caption = _scores_caption(ablation, str(n_splits))
    main = [
        {
            "id": target,
            "target": say(target),
            "caption": say_all([say("Test scores for {target}.", target=target), caption]),
            "short_caption": say("Test scores for {target}, as above.", target=target),
            "groups": main_table(ablation, target, modes, results["modes"], baselines),
        }
        for target in ablation.targets
    ]
    return {
        "main": main,
        "main_header": main_header(),
        "cost": cost_table(modes),
        "cost_header": cost_header(),
        "cost_caption": say(
            "Alignment and cost at the guide’s setting. Retention: rank correlation of cos after "
            "fine-tuning with cos before, within matched and within shuffled pairs, averaged; 1 "
            "for the linear probe by construction. R@1 ratio: image-to-text R@1 after over "
            "before. Parameters: those that train. Mean over {n} splits with the interval as "
            "above.",
            n=n_splits,
        ),
        "claims_note": say(
            "Decided at the guide’s setting; p adjusted by Holm within each family, intervals "
            "with it. The primary family, fixed beforehand, is residual against traditional and "
            "partial freeze against each rival on every target, {n} contrasts; the other claims "
            "on accuracy, each study and cost are families of their own. “The same” is shown by "
            "two one-sided tests at ± {margin}. The last column is the same decision at the tuned "
            "setting, a family of its own, conditional on that setting. All verdicts hold on this "
            "data only.",
            n=str(_family_size(results)),
            margin=format_score(ablation.margin),
        ),
    }


def _scores_caption(ablation: Ablation, n_splits: str) -> str:
    """What the main tables show, and where their intervals come from."""
    if ablation.has_one_part:
        return say(
            "SROCC and PLCC with their 95 % bootstrap interval over prompts, averaged over the "
            "test parts, or within each left-out generator; the other means over {n} splits have "
            "none. Gap: train − validation SROCC at the last epoch. Saturated: share of test "
            "images whose correction lies within 5 % of its bound. A dash: undefined, not zero.",
            n=n_splits,
        )
    return say(
        "Mean over {n} splits with its 95 % interval, unadjusted ({kind}). Gap: train − "
        "validation SROCC at the last epoch. Saturated: share of test images whose correction "
        "lies within 5 % of its bound. A dash: undefined, not zero.",
        n=n_splits,
        kind=_interval_words(ablation),
    )


def _earned(ablation: Ablation, results: dict[str, Any]) -> list[str]:
    """What training and the bound earn on each target, where the references and control are."""
    rows = results["guide_modes"], results["baselines"]
    words = [
        *(unbeaten_in_words(ablation, *rows, target) for target in ablation.targets),
        *(earned_words(results["comparisons"]["guide"], target) for target in ablation.targets),
    ]
    return [one for one in words if one]


def _interval_words(ablation: Ablation) -> str:
    """Where the intervals of the main tables come from."""
    if ablation.design.independent:
        return say("Student’s t over independent replicates")
    factor = format_score(float(ablation.params[Param.VARIANCE_FACTOR]))
    if ablation.design.n_folds:
        return say(
            "SROCC: influence of each prompt and training noise; else Nadeau–Bengio, variance "
            "factor {factor}",
            factor=factor,
        )
    return say("Nadeau–Bengio, variance factor {factor}", factor=factor)


def _commands_note(ablation: Ablation) -> str:
    """What the commands of single runs leave out."""
    smoke = say(
        "This smoke run took a part of the prompts only: the command of the whole alone gives "
        "the same runs."
    )
    seeds = say("The commands are those of the first seed; --seed gives the others.")
    return say_all([smoke if ablation.is_smoke else "", seeds if ablation.n_seeds > 1 else ""])


def _with_arms(ablation: Ablation) -> list[Ablation]:
    """The four modes, then the further arms where there are any."""
    return [ablation] if ablation.arms is None else [ablation, ablation.arms]


def _configuration(
    ablation: Ablation, resolutions: Mapping[Target, Resolution | None]
) -> list[list[str]]:
    """What is not on the cover: settings, then versions, then what was planned beside the fact."""
    elsewhere = (*_ON_COVER, *_VERSIONS)
    settings = [k for k in sorted(ablation.params) if k not in elsewhere and not is_planned(k)]
    versions = [k for k in _VERSIONS if k in ablation.params]
    pairs = [[k, page_text(ablation.params[k], LONGEST_VALUE)] for k in settings + versions]
    return pairs + plan_rows(ablation, resolutions)


def cover_facts(ablation: Ablation) -> list[list[str]]:
    """What ran, as pairs of name and value."""
    p = {key: page_text(value, LONGEST_VALUE) for key, value in ablation.params.items()}
    known = {key: p.get(key) or say("unknown") for key in (*_ON_COVER, *p)}
    wall = say("still running, or cut off")
    if ablation.wall_s is not None:
        wall = _duration(ablation.wall_s)
    counts = {
        "cells": str(len(ablation.cells)),
        "trials": str(len(ablation.trials)),
        "all": str(len(ablation.runs)),
    }
    tuning = say("{n} trials a mode", n=known[Param.N_TRIALS])
    training = [say("{epochs} epochs; profile {profile}", **known)]
    if ablation.n_seeds > 1:
        training.append(say("{n} seeds a split, averaged", n=str(ablation.n_seeds)))
    return [
        [say("Data"), say("{name}, version {version}", name=known[Param.DATA_NAME],
                          version=known[Param.DATA_VERSION])],
        [say("Data hash"), known[Param.DATA_SHA256][:16]],
        [say("Size"), say("{n_images} images, {n_prompts} prompts, {n_generators} generators",
                          **known)],
        [say("Targets"), say_list([say(target) for target in ablation.targets])],
        [say("Backbone"), say("{backbone} ({pretrained}), {image_depth} image blocks", **known)],
        [say("Backbone hash"), known[Param.BACKBONE_SHA256][:16]],
        [say("Protocol"), protocol_words(ablation)],
        [say("Training"), say("; ").join(training)],
        [say("Tuning"), tuning if ablation.is_tuned else say("none: the guide’s settings only")],
        [say("Runs"), say("{cells} confirmation runs, {trials} trials, {all} in all", **counts)],
        [say("Code"), known[Param.CODE_VERSION]],
        [say("Machine"), known[Param.MACHINE]],
        [say("Wall time"), wall],
    ]  # fmt: skip


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _notes(ablation: Ablation) -> list[str]:
    try:
        notes = json.loads(ablation.params.get(Param.NOTES) or "[]")
    except json.JSONDecodeError:
        notes = [ablation.params[Param.NOTES]]
    return [page_text(note, 300) for note in (notes if isinstance(notes, list) else [notes])]


def _family_size(results: dict[str, Any]) -> int:
    """Contrasts of the primary family."""
    return sum(one.get("family") == PRIMARY for one in results["comparisons"]["guide"])


def pooled_rows(
    pooled: dict[str, dict[str, Entry]], targets: Sequence[str]
) -> list[dict[str, Any]]:
    """The descriptive out-of-fold table; empty unless the protocol is k-fold."""
    return [
        {"name": label(mode), "cells": [score_cell(row.get(SROCC.key(t))) for t in targets]}
        for mode, row in pooled.items()
    ]


def worst_cases(ablation: Ablation) -> list[dict[str, Any]]:
    """Test images with the largest error of any mode that left a thumbnail, largest first."""
    table = ablation.predictions
    if table.empty or not ablation.thumbnails:
        return []
    pictured = pd.DataFrame(list(ablation.thumbnails), columns=["run_id", "row"])
    shown = select(table, setting=Setting.GUIDE).merge(pictured, on=["run_id", "row"])
    parts = [(t, t.mos, t.prediction) for t in ablation.targets]
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
    case: dict[Any, Any], parts: Sequence[tuple[str, str, str]],
    thumbnails: dict[tuple[str, int], Path],
) -> dict[str, Any]:  # fmt: skip
    scores = [
        say(
            "{target}: {mos} by people, {predicted} predicted",
            target=target,
            mos=format_score(case[mos]),
            predicted=format_score(case[part]),
        )
        for target, mos, part in parts
        if np.isfinite(case.get(mos, np.nan)) and np.isfinite(case.get(part, np.nan))
    ]
    return {
        "source": str(thumbnails[case["run_id"], case["row"]]),
        "prompt": page_text(case["prompt"], LONGEST_PROMPT),
        "scores": scores,
        "by": say("{mode}, split {split}", mode=label(case["mode"]), split=str(case["split"])),
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
        return say("not tuned")
    return say("the guide’s") if row["tuned_is_guide"] else _setting_words(row["tuned_setting"])


def _setting_words(setting: dict[str, Any]) -> str:
    names = {
        "freeze_layers": say("frozen"),
        "residual_scale_q": say("scale q"),
        "residual_scale_c": say("scale c"),
    }
    words = [f"{names.get(k, k)} {v:.3g}" if isinstance(v, int | float) else f"{k} {v}"
             for k, v in setting.items() if v is not None]  # fmt: skip
    return say(", ").join(words) or say("the defaults")
