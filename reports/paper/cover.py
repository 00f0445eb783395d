"""The cover: what ran, notes, and what every page must say."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from qa_core.records.schema import Param
from reports.evidence.ablation import Ablation
from reports.language import say, say_list
from reports.paper.tables import NONE
from reports.text.page_text import LONGEST_VALUE, page_text
from reports.text.wording import protocol_words
from reports.verdicts.decide import NOT_TESTED, WITHOUT_TARGET, Verdict

HASH_SHOWN = 16
"""Hexadecimal digits of a hash, which tell any two apart."""
ON_COVER = {
    "profile", "protocol", "data_name", "data_version", "data_sha256", "n_images", "n_prompts",
    "n_generators", "targets", "backbone", "pretrained", "backbone_sha256", "image_depth",
    "n_splits", "n_trials", "epochs", "code_version", "machine", "notes",
}  # fmt: skip


def banner(ablation: Ablation) -> str:
    """What every page must say: a smoke run, an unfinished one, both, or nothing."""
    words = [say("INCOMPLETE")] if not ablation.complete else []
    return " · ".join(words + ([say("smoke run: proves nothing")] if ablation.is_smoke else []))


def cover_facts(ablation: Ablation) -> list[list[str]]:
    """What ran, as pairs of name and value."""
    p = {key: page_text(value, LONGEST_VALUE) for key, value in ablation.params.items()}
    known = {key: p.get(key) or say("unknown") for key in (*ON_COVER, *p)}
    wall = say("still running, or cut off")
    if ablation.wall_s is not None:
        wall = _duration(ablation.wall_s)
    counts = {
        "cells": str(len(ablation.cells)),
        "trials": str(len(ablation.trials)),
    }
    tuning = say("{n} trials a mode", n=known[Param.N_TRIALS])
    training = [say("{epochs} epochs; profile {profile}", **known)]
    if p.get(Param.AMP_ON_CPU) == "True":
        training.append(say("bfloat16"))
    if ablation.n_seeds > 1:
        training.append(say("{n} seeds a split, averaged", n=str(ablation.n_seeds)))
    return [
        [say("Data"), say("{name}, version {version}", name=known[Param.DATA_NAME],
                          version=known[Param.DATA_VERSION])],
        [say("Data hash"), known[Param.DATA_SHA256][:HASH_SHOWN]],
        [say("Size"), _size_words(ablation, known)],
        [say("Targets"), say_list([say(target) for target in ablation.targets])],
        [say("Backbone"), say("{backbone} ({pretrained}), {image_depth} image blocks", **known)],
        [say("Backbone hash"), known[Param.BACKBONE_SHA256][:HASH_SHOWN]],
        [say("Protocol"), protocol_words(ablation)],
        [say("Training"), say("; ").join(training)],
        [say("Tuning"), tuning if ablation.is_tuned else say("none: the guide’s settings only")],
        [say("Runs"), say("{cells} confirmation runs, {trials} trials", **counts)],
        [say("Code"), known[Param.CODE_VERSION]],
        [say("Machine"), known[Param.MACHINE]],
        [say("Wall time"), wall],
    ]  # fmt: skip


def _size_words(ablation: Ablation, known: Mapping[str, str]) -> str:
    if not ablation.has_prompts:
        return say("{n_images} images, without prompts", **known)
    return say("{n_images} images, {n_prompts} prompts, {n_generators} generators", **known)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def cover_notes(ablation: Ablation) -> list[str]:
    """What the ablation itself noted of its data and profile."""
    try:
        notes = json.loads(ablation.params.get(Param.NOTES) or "[]")
    except json.JSONDecodeError:
        notes = [ablation.params[Param.NOTES]]
    return [page_text(note, 300) for note in (notes if isinstance(notes, list) else [notes])]


def cover_claims(ablation: Ablation, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The guide's claims that were tested, a row a claim, a cell a target; and how many were not.

    A claim about no target has one cell. `colour` keeps the verdict in English, by which the page
    colours it.
    """
    claims: dict[str, dict[str, Verdict]] = {}
    for verdict in verdicts:
        claims.setdefault(verdict.claim.id, {})[verdict.target] = verdict
    untested = sum(any(v.kind == NOT_TESTED for v in found.values()) for found in claims.values())
    words = say(
        "Not tested, on one target at least: {n} claims; their table says why.", n=str(untested)
    )
    if len(ablation.targets) == 1:
        words = say("Not tested: {n} claims; their table says why.", n=str(untested))
    return {
        "targets": [say(target) for target in ablation.targets],
        "rows": [
            _claim_row(ablation, found)
            for found in claims.values()
            if any(v.kind != NOT_TESTED for v in found.values())
        ],
        "untested": words if untested else "",
    }


def _claim_row(ablation: Ablation, found: Mapping[str, Verdict]) -> dict[str, Any]:
    (question,) = {verdict.claim.question for verdict in found.values()}
    places = tuple(found) if found.keys() & set(WITHOUT_TARGET) else ablation.targets
    cells = []
    for place in places:
        word = found[place].verdict if place in found else NONE
        kind = found[place].kind if place in found and not ablation.is_smoke else NOT_TESTED
        cells.append({"word": say(word), "colour": kind})
    return {"question": say(question), "cells": cells}
