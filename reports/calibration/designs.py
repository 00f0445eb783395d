"""The designs that the product ships, simulated on known worlds: estimates of six contrasts each.

Estimates come from the report's own functions. Truth is the mean over all simulated data sets.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qa_core.data.splits import FOLDS, plan_splits, stream
from reports.calibration.worlds import ERROR_OF_PROMPT, IMAGES_PER_PROMPT, Rows, World
from reports.inference.estimates import (
    Estimate,
    from_folds,
    from_replicates,
    from_resplits,
)
from reports.inference.influence import Scored, score_part
from reports.statistics import srocc_of_columns

FloatArray = NDArray[np.float64]
Family = list[Estimate]

CONTRASTS = tuple((i, j) for i in range(len(ERROR_OF_PROMPT)) for j in range(i))
"""The family: every procedure against every earlier one."""
TABLE_PROMPTS, SMALL_PROMPTS = 224, 60
REPLICATES = 10
TRAIN_PROMPTS, TEST_PROMPTS = 157, 300


def replicates(world: World, rng: np.random.Generator) -> Family:
    """Ten replicates with prompts of their own."""
    n_prompts = TRAIN_PROMPTS + TEST_PROMPTS
    train, test = np.split(
        np.arange(n_prompts * IMAGES_PER_PROMPT), [TRAIN_PROMPTS * IMAGES_PER_PROMPT]
    )
    scores: list[FloatArray] = []
    for _ in range(REPLICATES):
        data = world(n_prompts, rng)
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
    data, prompt_of = world(TABLE_PROMPTS, rng), _prompt_of(TABLE_PROMPTS)
    plan = plan_splits(prompt_of.astype(str), "honest", _seed(rng), repeats * FOLDS)
    parts: list[list[Scored]] = []
    for split in plan.splits:
        found = [
            score_part(predicted, data.mos[split.test], prompt_of[split.test], TABLE_PROMPTS)
            for predicted in data.predict(split.train, split.test)
        ]
        parts.append([part for part in found if part is not None])
    repeat_of = [split.index // FOLDS for split in plan.splits]
    return _known(
        from_folds([part[i] - part[j] for part in parts], repeat_of, FOLDS) for i, j in CONTRASTS
    )


def small(world: World, rng: np.random.Generator) -> Family:
    """Grouped 5-fold of 60 prompts, four times, with Nadeau and Bengio's correction."""
    data = world(SMALL_PROMPTS, rng)
    plan = plan_splits(_prompt_of(SMALL_PROMPTS).astype(str), "grouped_kfold", _seed(rng))
    scores = [
        srocc_of_columns(np.column_stack([data.mos[s.test], *data.predict(s.train, s.test)]))
        for s in plan.splits
    ]
    table = np.array(scores)
    return _known(
        from_resplits(table[:, i] - table[:, j], plan.variance_factor) for i, j in CONTRASTS
    )


def _prompt_of(n_prompts: int) -> Rows:
    return np.repeat(np.arange(n_prompts), IMAGES_PER_PROMPT)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


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


def _known(found: Iterable[Estimate | None]) -> Family:
    return [estimate for estimate in found if estimate is not None]
