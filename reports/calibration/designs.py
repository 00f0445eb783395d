"""The designs that the product ships, simulated on known worlds: estimates of six contrasts each.

Estimates come from the report's own functions. Truth is the mean over all simulated data sets.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qa_core.data.splits import stream
from reports.calibration.image_level import IMAGES_PER_PROMPT
from reports.calibration.split_level import CONTRASTS
from reports.calibration.worlds import Rows, World
from reports.inference.estimates import (
    Estimate,
    from_folds,
    from_replicates,
    from_resplits,
    resplit_factor,
)
from reports.inference.influence import Scored, score_part
from reports.statistics import srocc_of_columns

FloatArray = NDArray[np.float64]
Family = list[Estimate]

FOLDS = 5
TABLE_PROMPTS, SMALL_PROMPTS = 224, 60
VALIDATION_SHARE = 1 / 8
"""Of the prompts outside the test fold."""
REPLICATES = 10
TRAIN_PROMPTS, TEST_PROMPTS = 157, 300
SMALL_REPEATS = 4


def replicates(world: World, rng: np.random.Generator) -> Family:
    """Ten replicates with prompts of their own."""
    train, test = _rows(np.arange(TRAIN_PROMPTS)), _rows(np.arange(TEST_PROMPTS) + TRAIN_PROMPTS)
    scores: list[FloatArray] = []
    for _ in range(REPLICATES):
        data = world(TRAIN_PROMPTS + TEST_PROMPTS, rng)
        predicted = data.predict(train, test)
        scores.append(srocc_of_columns(np.column_stack([data.mos[test], *predicted])))
    table = np.array(scores)  # (J, 4)
    return _known(from_replicates(table[:, i] - table[:, j]) for i, j in CONTRASTS)


def kfold2(world: World, rng: np.random.Generator) -> Family:
    """Grouped 5-fold over all prompts of one table, twice."""
    return _kfold(world, rng, 2)


def kfold4(world: World, rng: np.random.Generator) -> Family:
    """Grouped 5-fold over all prompts of one table, four times."""
    return _kfold(world, rng, 4)


def _kfold(world: World, rng: np.random.Generator, repeats: int) -> Family:
    data = world(TABLE_PROMPTS, rng)
    prompt_of = np.repeat(np.arange(TABLE_PROMPTS), IMAGES_PER_PROMPT)
    parts: list[list[Scored]] = []
    for train, test in folds(TABLE_PROMPTS, repeats, rng):
        found = [
            score_part(predicted, data.mos[test], prompt_of[test], TABLE_PROMPTS)
            for predicted in data.predict(train, test)
        ]
        parts.append([part for part in found if part is not None])
    repeat_of = [k // FOLDS for k in range(len(parts))]
    return _known(
        from_folds([part[i] - part[j] for part in parts], repeat_of, FOLDS) for i, j in CONTRASTS
    )


def small(world: World, rng: np.random.Generator) -> Family:
    """Grouped 5-fold of 60 prompts, four times, with Nadeau and Bengio's correction."""
    data = world(SMALL_PROMPTS, rng)
    scores = [
        srocc_of_columns(np.column_stack([data.mos[test], *data.predict(train, test)]))
        for train, test in folds(SMALL_PROMPTS, SMALL_REPEATS, rng)
    ]
    table = np.array(scores)
    factor = resplit_factor(len(scores), SMALL_PROMPTS // FOLDS, SMALL_PROMPTS)
    return _known(from_resplits(table[:, i] - table[:, j], factor) for i, j in CONTRASTS)


def folds(n_prompts: int, repeats: int, rng: np.random.Generator) -> list[tuple[Rows, Rows]]:
    """Training and test rows of each fold of each repeat."""
    found: list[tuple[Rows, Rows]] = []
    for _ in range(repeats):
        parts = np.array_split(rng.permutation(n_prompts), FOLDS)
        for fold in range(FOLDS):
            others = rng.permutation(np.concatenate([*parts[:fold], *parts[fold + 1 :]]))
            kept = others[round(VALIDATION_SHARE * len(others)) :]
            found.append((_rows(kept), _rows(parts[fold])))
    return found


DESIGNS: dict[str, Callable[[World, np.random.Generator], Family]] = {
    "replicates": replicates,
    "kfold2": kfold2,
    "kfold4": kfold4,
    "small": small,
}


def simulate(design: str, world: World, n: int, seed: int) -> list[Family]:
    """Families of n data sets, each contrast shifted by its truth, so that all are truly 0."""
    families = [DESIGNS[design](world, stream(seed, k)) for k in range(n)]
    truth = np.mean([[one.mean for one in family] for family in families], axis=0)
    return [
        [replace(one, mean=one.mean - float(t)) for one, t in zip(family, truth, strict=True)]
        for family in families
    ]


def _rows(prompts: Rows) -> Rows:
    return (np.sort(prompts)[:, None] * IMAGES_PER_PROMPT + np.arange(IMAGES_PER_PROMPT)).ravel()


def _known(found: Iterable[Estimate | None]) -> Family:
    return [estimate for estimate in found if estimate is not None]
