"""Single images for the page: what is known of each, and what every mode predicted of it."""

import base64
from typing import Any

import numpy as np
import pandas as pd

from qa_core.data.frames import column, rows_where
from qa_core.records.images import rows_shown
from qa_core.records.schema import Setting
from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.evidence.attributes import PROMPT_LENGTH, Attribute, describe_images, find_attributes
from reports.evidence.frames import kept_together, select
from reports.figures.style import colour, short
from reports.language import say, say_all, say_word
from reports.text.page_text import page_text

LONGEST_PROMPT, LONGEST_NAME = 400, 80
SCALE = 1000
"""Scores are written as whole thousandths, which is as exact as the page shows them."""

Thousandths = list[int | None]


def browser_data(ablation: Ablation) -> dict[str, Any] | None:
    """All that the page's browser reads; None where no run left predictions.

    Columns are lists, one value an image; `tests` has one value an image and split that tested it.
    Scores are thousandths of the range from 0 to 1, null where there is none. Predictions are at
    the guide's setting, those of several seeds averaged.
    """
    if ablation.predictions.empty:
        return None
    predictions = select(ablation.predictions, setting=Setting.GUIDE)
    shown = _shown(ablation, predictions)
    predictions = rows_where(predictions, predictions["row"].isin(shown))
    images = describe_images(ablation).reindex(shown)
    tests: Any = predictions[["row", "split"]]
    tests = tests.drop_duplicates().sort_values(["row", "split"])
    prompts, prompt_of = _numbered(column(images, "prompt"), LONGEST_PROMPT)
    groups = _numbered(pd.Series(kept_together(images), index=images.index), LONGEST_PROMPT)[1]
    return {
        "n_tested": int(column(ablation.predictions, "row").nunique()),
        "modes": [
            {"name": short(mode), "colour": colour(mode)} for mode in ablation.mode_names
        ],
        "targets": [
            {"name": say(target), "mos": _thousandths(images, target.mos),
             "std": _thousandths(images, f"std_{target}")}
            for target in ablation.targets
        ],
        "prompts": prompts,
        "images": {
            "name": [page_text(name, LONGEST_NAME) for name in images["name"]],
            "prompt": prompt_of,
            "group": groups,
            "raters": _whole(images, "n_raters"),
            "picture": _pictures(ablation, shown),
        },
        "attributes": _attributes(ablation, shown),
        "tests": {
            "image": np.searchsorted(shown, tests["row"]).tolist(),
            "split": tests["split"].tolist(),
            "scores": [
                [_scores(predictions, tests, mode, target) for mode in ablation.mode_names]
                for target in ablation.targets
            ],
        },
    }  # fmt: skip


def browser_note(data: dict[str, Any]) -> str:
    """What the browser shows, how to read it, and why pictures are missing where they are."""
    pictures = data["images"]["picture"]
    missing = ""
    if not any(pictures):
        missing = say("This ablation keeps no pictures.")
    elif not all(pictures):
        missing = say("This ablation keeps pictures of the largest errors alone.")
    if missing:
        again = say("The same make ablation, run again where its images are, adds all of them.")
        missing = say_all([missing, again])
    n_shown, n_tested = f"{len(pictures):,}", f"{data['n_tested']:,}"
    some = say(
        "{shown} of the {all} tested images, those of the first splits.",
        shown=n_shown,
        all=n_tested,
    )
    scope = say("All {all} tested images.", all=n_tested) if n_shown == n_tested else some
    how = say(
        "Predictions are at the guide’s setting, averaged over the splits that tested the image; "
        "scores run from 0 to 1. Upright line: people’s opinion; grey: ± 1 SD of the raters, "
        "where it is known; hollow: the base; full: the prediction."
    )
    return say_all([scope, how, missing])


def _shown(ablation: Ablation, predictions: pd.DataFrame) -> list[int]:
    """Rows of the table that the page shows, ascending: those with pictures, where there are."""
    tested = set(predictions["row"])
    if ablation.pictures:
        return sorted(tested & ablation.pictures.keys())
    parts = []
    for _, part in predictions.groupby("split"):
        part = part.drop_duplicates("row")
        parts.append((part["row"].to_numpy(), np.array(kept_together(part))))
    return sorted(rows_shown(parts))


def _pictures(ablation: Ablation, shown: list[int]) -> list[str]:
    """A picture of each image as the end of a data address; empty where there is none."""
    found = {row: ("webp", data) for row, data in ablation.pictures.items()}
    if not found:  # an earlier version kept those of the largest errors alone
        found = {row: ("jpeg", path.read_bytes()) for (_, row), path in
                 ablation.thumbnails.items()}  # fmt: skip
    return [
        f"{found[row][0]};base64,{base64.b64encode(found[row][1]).decode()}" if row in found else ""
        for row in shown
    ]


def _attributes(ablation: Ablation, shown: list[int]) -> list[dict[str, Any]]:
    return [
        {
            "name": attribute_name(one),
            "levels": [page_text(level, LONGEST_NAME) or say("none") for level in one.levels],
            "of": one.level_of.reindex(shown, fill_value=-1).tolist(),
            # what a card tells: a blank cell says nothing, and the prompt shows its own length
            "told": [bool(level) and one.name != PROMPT_LENGTH for level in one.levels],
        }
        for one in find_attributes(ablation)
    ]


def attribute_name(one: Attribute) -> str:
    """What a page calls it: a word of ours in its language, a column by its name."""
    return page_text(say_word(one.name), LONGEST_NAME)


def _scores(
    predictions: pd.DataFrame, tests: pd.DataFrame, mode: str, target: Target
) -> dict[str, Thousandths]:
    """Prediction, base and correction of one mode on one target, a value a test."""
    short = target.prediction
    own = select(predictions, mode=mode)
    parts = {"prediction": own.get(short), "base": own.get(f"{short}_base")}
    delta, scale = own.get(f"{short}_delta"), own.get(f"residual_scale_{short}")
    if delta is not None and scale is not None:
        parts["correction"] = delta * scale
    columns: dict[str, Thousandths] = {}
    for name, values in parts.items():
        if values is None or not values.notna().any():
            continue
        means = values.groupby([own["row"], own["split"]]).mean()
        columns[name] = _whole_numbers(
            SCALE * means.reindex(pd.MultiIndex.from_frame(tests)).to_numpy(float)
        )
    return columns


def _numbered(texts: pd.Series, longest: int) -> tuple[list[str], list[int]]:
    """The different texts, fit for a page, and the number of each row's."""
    codes, different = pd.factorize(texts.fillna("").astype(str))
    return [page_text(text, longest) for text in different], codes.tolist()


def _thousandths(images: pd.DataFrame, name: str) -> Thousandths:
    if name not in images:
        return []
    return _whole_numbers(SCALE * images[name].to_numpy(float))


def _whole(images: pd.DataFrame, name: str) -> Thousandths:
    return _whole_numbers(images[name].to_numpy(float)) if name in images else []


def _whole_numbers(values: np.ndarray) -> Thousandths:
    return [round(v) if np.isfinite(v) else None for v in values.tolist()]
