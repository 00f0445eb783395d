"""Where each mode fails: SROCC within the levels of every attribute of the tested images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from qa_core.records.schema import Setting
from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.evidence.attributes import Attribute, find_attributes
from reports.evidence.frames import kept_together, select
from reports.inference.influence import Scored, score_part
from reports.language import phrase
from reports.statistics import Interval

FEWEST_IMAGES, FEWEST_PROMPTS = 5, 8
"""Of a level: images in a split below which that split says nothing, and prompts in all."""


ALL = phrase("all images")


@dataclass(frozen=True)
class Level:
    """One level of an attribute on one target.

    Attributes:
        name: The level; blank where the table's cell is.
        images: Tested images.
        prompts: Their prompts.
        scores: By mode, the mean over splits of SROCC within the level, with its interval.
    """

    name: str
    images: int
    prompts: int
    scores: dict[str, Interval]


@dataclass(frozen=True)
class Part:
    """The levels of one attribute, in its order; those with too few prompts are left out.

    The first part is of all images: one level, named as the attribute.
    """

    attribute: Attribute
    levels: tuple[Level, ...]


def break_down(ablation: Ablation, target: Target) -> tuple[Part, ...]:
    """SROCC within every level of every attribute, at the guide's setting.

    The interval is for other prompts of the same kind and the models at hand: its variance adds up
    the squares of what each prompt contributes to the mean over splits, with one degree of freedom
    less than prompts (`reports/inference/influence.py`). What other training sets and seeds would
    change is not in it. It is unadjusted: where a mode fails is described, not decided.
    """
    key = ("breakdown", target)
    if key not in ablation.kept:
        ablation.kept[key] = tuple(_parts(ablation, target))
    return ablation.kept[key]


def _parts(ablation: Ablation, target: Target) -> list[Part]:
    if not {target.mos, target.prediction} <= set(ablation.predictions.columns):
        return []
    own: Any = select(ablation.predictions, setting=Setting.GUIDE)
    own = own.dropna(subset=[target.mos, target.prediction])
    groups = pd.Series(kept_together(own), index=own.index)
    own = own.assign(prompt_of=pd.factorize(groups)[0])
    own = own.astype({"mode": "category", "run_id": "category"})  # which sort fast
    parts = []
    for attribute in find_attributes(ablation):
        levels = _levels(own.assign(at=own["row"].map(attribute.level_of)), attribute, target)
        if len(levels) > 1:
            parts.append(Part(attribute, tuple(levels)))
    everything = Attribute(ALL, ("",), pd.Series(dtype=int))
    return [Part(everything, tuple(_levels(own.assign(at=0), everything, target))), *parts]


def most_frequent(parts: Sequence[Part], most: int) -> list[Part]:
    """The parts with no more than `most` levels in all: of each the same number, with most images.

    At least two of each part are kept.
    """
    largest = max((len(part.levels) for part in parts), default=0)
    fits = [k for k in range(largest, 1, -1) if sum(min(len(p.levels), k) for p in parts) <= most]
    return [_largest(part, fits[0] if fits else 2) for part in parts]


def _largest(part: Part, count: int) -> Part:
    kept = sorted(part.levels, key=lambda level: -level.images)[:count]
    return Part(part.attribute, tuple(level for level in part.levels if level in kept))


def _levels(own: pd.DataFrame, attribute: Attribute, target: Target) -> list[Level]:
    scores = _scores_by_level(own, target)
    counted: Any = own.groupby("at")[["row", "prompt_of"]].nunique()
    levels = []
    for k, name in enumerate(attribute.levels):
        if k not in counted.index or counted.loc[k, "prompt_of"] < FEWEST_PROMPTS:
            continue
        images, prompts = (int(n) for n in counted.loc[k])
        found = {m: _interval(parts, prompts) for (at, m), parts in scores.items() if at == k}
        if found:
            levels.append(Level(name, images, prompts, found))
    return levels


def _scores_by_level(own: pd.DataFrame, target: Target) -> dict[tuple[int, str], list[Scored]]:
    """SROCC of every split by level and mode, seeds of a split averaged first."""
    n_prompts = 1 + int(own["prompt_of"].to_numpy().max())
    keys = ["at", "mode", "split", "run_id"]
    own = own.sort_values(keys)
    x, y, prompt_of = (own[name].to_numpy() for name in
                       (target.prediction, target.mos, "prompt_of"))  # fmt: skip
    sizes: Any = own.groupby(keys, observed=True).size()
    seeds: dict[tuple[int, str, int], list[Scored]] = {}
    end = 0
    for (at, mode, split, _), size in sizes.items():
        end, rows = end + size, slice(end, end + size)
        if size >= FEWEST_IMAGES:
            one = score_part(x[rows], y[rows], prompt_of[rows], n_prompts)
            seeds.setdefault((int(at), mode, split), []).extend([one] if one else [])
    found: dict[tuple[int, str], list[Scored]] = {}
    for (at, mode, _), scored in seeds.items():
        if scored:
            found.setdefault((at, mode), []).append(_mean(scored))
    return found


def _interval(splits: list[Scored], n_prompts: int) -> Interval:
    whole = _mean(splits)
    error = float(np.sqrt(np.sum(whole.shares**2)))
    reach = error * float(cast(Any, special).stdtrit(n_prompts - 1, 0.975))
    low, high = max(whole.score - reach, -1.0), min(whole.score + reach, 1.0)
    return Interval(whole.score, low, high, n_prompts, 0.95, "prompt_influence")


def _mean(parts: list[Scored]) -> Scored:
    shares = np.mean([part.shares for part in parts], axis=0)
    return Scored(float(np.mean([part.score for part in parts])), shares)
