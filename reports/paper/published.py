"""Published results beside those of ablations, where their data set is one that has them."""

from collections.abc import Mapping
from typing import Any

from qa_core.measures.catalogue import PLCC, SROCC
from qa_core.records.schema import Param
from qa_core.targets import TARGETS
from reports.evidence.ablation import Ablation
from reports.figures.style import format_score, label
from reports.language import say
from reports.paper.tables import NONE, Cell, score_cell
from reports.text.wording import protocol_words
from reports.verdicts.measured import Entry

Scores = tuple[float | None, float | None, float | None, float | None]
"""SROCC and PLCC of quality, then of consistency."""

PAPERS: dict[str, dict[str, Scores]] = {
    "agiqa3k": {
        "ACL-IQA (CLIP ViT-B/32)": (0.8969, 0.9282, 0.7832, 0.8800),
        "IPCE (CLIP ViT-B/32)": (0.8841, 0.9246, 0.7697, 0.8725),
        "LIQE, retrained": (0.8742, 0.8934, 0.7338, 0.8205),
        "CLIP-AGIQA": (0.8618, 0.8978, None, None),
        "SF-IQA (SwinV2-T + PickScore)": (0.9024, 0.9314, 0.8454, 0.9072),
        "M3-AGIQA (MLLM)": (0.9045, 0.9317, 0.8523, 0.9142),
        "CLIPScore, zero-shot": (None, None, 0.5972, 0.6839),
        "ImageReward": (None, None, 0.7298, 0.7862),
    },
    "aigciqa2023": {
        "ACL-IQA (CLIP ViT-B/32)": (0.8720, 0.8865, 0.8092, 0.8005),
        "IPCE (CLIP ViT-B/32)": (0.8640, 0.8788, 0.7979, 0.7887),
        "LIQE, retrained": (0.8534, 0.8758, 0.7780, 0.7696),
        "CLIP-AGIQA": (0.8140, 0.8302, 0.7036, 0.6994),
        "M3-AGIQA (MLLM)": (0.8618, 0.8922, 0.8060, 0.7973),
    },
    "evalmuse40k": {
        "CLIPScore": (None, None, 0.299, None),
        "HPSv2": (None, None, 0.375, None),
        "PickScore": (None, None, 0.440, None),
        "ImageReward": (None, None, 0.466, None),
        "VQAScore": (None, None, 0.488, None),
        "FGA-BLIP2": (None, None, 0.774, None),
    },
}
"""By data set; second-hand, from comparison tables of later papers."""

METHOD: dict[str, dict[str, Scores]] = {
    "agiqa3k": {
        "traditional": (0.86, None, 0.84, None),
        "residual": (0.88, None, 0.86, None),
        "residual, 18 of 24 blocks frozen": (0.90, None, 0.88, None),
        "CLIP frozen": (0.85, None, 0.83, None),
    },
}
"""By data set; the ablation that was published with residual learning itself."""

ANCHORS: dict[str, dict[str, Scores]] = {
    "agiqa3k": {
        "ridge, frozen CLIP RN50": (0.848, 0.896, None, None),
        "ridge, frozen CLIP ViT-B/32, 2,190 images": (0.874, 0.903, None, None),
    },
    "aigciqa2023": {
        "ridge, frozen CLIP RN50": (0.782, 0.796, None, None),
        "ridge, frozen CLIP ViT-B/32": (0.779, 0.795, None, None),
    },
}
"""By data set: prompts unseen, strength chosen on validation, five splits."""

MEASURES = tuple(measure.key(target) for target in TARGETS for measure in (SROCC, PLCC))
HEADER = ("method", "SROCC, quality", "PLCC, quality", "SROCC, consistency", "PLCC, consistency")


def published_content(
    own: Mapping[str, tuple[Ablation, dict[str, Any]]],
) -> dict[str, Any]:
    """The page of published results; nothing for several data sets, or one that has none here.

    Args:
        own: Ablations and their results, by the name that the page gives them.
    """
    names = {ablation.params.get(Param.DATA_NAME, "") for ablation, _ in own.values()}
    name = names.pop()
    if names or name not in PAPERS:
        return {"published": None}
    groups = [
        (say("Published, protocols as in the caption"), _rows(PAPERS[name])),
        (
            say("The method’s own ablation, ViT-L/14: images split at random, the best epoch "
                "chosen on the part that is reported, one run"),
            _rows(METHOD.get(name, {})),
        ),
        (say("Elsewhere, prompts unseen"), _rows(ANCHORS.get(name, {}))),
        *(_own_group(title, ablation, results) for title, (ablation, results) in own.items()),
    ]  # fmt: skip
    return {
        "published": {
            "header": [say(words) for words in HEADER],
            "groups": [{"title": title, "rows": rows} for title, rows in groups if rows],
            "caption": say(
                "Published results are second-hand. Most papers choose the epoch on test, which "
                "adds .002–.006 on AGIQA-3K and .012–.014 on AIGCIQA2023, and several split at "
                "random, so that test prompts are trained on; only runs with PROTOCOL=common "
                "may stand in line with them, and with PROTOCOL=published with the method’s own "
                "ablation. Modes and arms at their tuned settings; intervals as in "
                "the main tables."
            ),
        }
    }


def _own_group(
    name: str, ablation: Ablation, results: dict[str, Any]
) -> tuple[str, list[dict[str, Any]]]:
    title = say(
        "{name}: {backbone}, {protocol}",
        name=name,
        backbone=ablation.params.get(Param.BACKBONE, ""),
        protocol=protocol_words(ablation),
    )
    rows = {**results["modes"], **results["arms"], **results["baselines"]}
    return title, _own_rows(rows)


def _rows(table: dict[str, Scores]) -> list[dict[str, Any]]:
    return [
        {"name": method, "cells": [_cell(score) for score in scores]}
        for method, scores in table.items()
    ]


def _cell(score: float | None) -> Cell:
    return {"value": NONE if score is None else format_score(score), "interval": ""}


def _own_rows(entries: dict[str, dict[str, Entry]]) -> list[dict[str, Any]]:
    return [
        {"name": label(name), "cells": [score_cell(own.get(measure)) for measure in MEASURES]}
        for name, own in entries.items()
    ]
