"""Seeded splits that keep the images of a prompt together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qa_core.config import ProtocolName

POOL_SHARE, TEST_SHARE, VALIDATION_SHARE = 0.3, 0.2, 0.1
"""Of all prompts: apart for tuning; in each split's test part; in its validation part."""

TUNING_FOLDS = 3
FOLDS, REPEATS = 5, 4
"""Grouped 5-fold, repeated four times: 20 splits."""

MIN_PROMPTS_FOR_POOL = 100
"""Below it, `auto` sets no pool apart and takes grouped 5-fold."""

MIN_PROMPTS = {"honest": 10, "grouped_kfold": FOLDS}

Rows = NDArray[np.int64]
IntervalKind = Literal["nadeau_bengio", "prompt_bootstrap"]

# Streams of random numbers: what one draws never shifts another.
_POOL, _FOLDS, _SPLIT, _REPEAT, _SUBSET, _SHARE = range(6)


@dataclass(frozen=True)
class Split:
    """Rows of one split, ascending; disjoint in prompts by every protocol of this module.

    Attributes:
        index: Number of the split, from 0.
        train: Rows (n_train,).
        validation: Rows (n_validation,).
        test: Rows (n_test,); empty in a fold of the tuning pool.
    """

    index: int
    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True)
class SplitPlan:
    """All splits of a table under one protocol.

    Attributes:
        protocol: Its name, never `auto`.
        seed: What all of it was drawn from.
        pool: Rows (n_pool,) of the tuning pool; empty in `grouped_kfold`.
        folds: Three grouped folds of the pool, without test part; none in `grouped_kfold`.
        splits: The splits, by index.
        n_prompts: All prompts.
        n_pool_prompts: Prompts of the pool.
        n_eligible_prompts: Prompts that can land in a test part: all but the pool.
        n_test_prompts: Prompts of a test part (the larger, where five parts are not equal).
        variance_factor: 1/J + n_test / (n_eligible - n_test) with J splits, in prompts: what the
            mean over splits multiplies the variance between splits with (Nadeau and Bengio 2003,
            corrected resampled t; 1/J + 1/4 in 5-fold).
        interval: What intervals rest on: the spread over re-splits or, where there is one test
            part, a bootstrap over its prompts.
    """

    protocol: ProtocolName
    seed: int
    pool: Rows
    folds: tuple[Split, ...]
    splits: tuple[Split, ...]
    n_prompts: int
    n_pool_prompts: int
    n_eligible_prompts: int
    n_test_prompts: int
    variance_factor: float
    interval: IntervalKind = "nadeau_bengio"

    def first(self, count: int) -> "SplitPlan":
        """The plan with its first `count` splits alone, and the variance factor of so many."""
        fewer = 1 / count - 1 / len(self.splits)
        return replace(
            self, splits=self.splits[:count], variance_factor=self.variance_factor + fewer
        )


def plan_splits(
    groups: Sequence[str] | NDArray[np.str_],
    protocol: ProtocolName = "auto",
    seed: int = 0,
    n_splits: int = 10,
) -> SplitPlan:
    """The splits of a table by its prompts.

    `honest` sets a tuning pool of 30 % of the prompts apart; each split draws 20 % of all prompts
    as test part and 10 % as validation part from the others, and trains on the rest and the whole
    pool. `grouped_kfold` is 5-fold, repeated four times, whatever `n_splits`; one of the other
    four parts, in turn, is validation. Split k depends on the prompts, `seed` and k alone.

    Args:
        groups: What a split keeps together, one value a row.
        protocol: `auto` takes `honest` from 100 prompts on.
        seed: Seed of every draw.
        n_splits: Number of splits in `honest`.

    Raises:
        ValueError: If there are too few prompts or splits, or the protocol is unknown.
    """
    names, prompt_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    n_prompts = len(names)
    if protocol == "auto":
        protocol = "honest" if n_prompts >= MIN_PROMPTS_FOR_POOL else "grouped_kfold"
    if protocol not in MIN_PROMPTS:
        known = ", ".join(MIN_PROMPTS)
        raise ValueError(f"Unknown protocol {protocol!r}; choose auto or one of {known}.")
    if n_prompts < MIN_PROMPTS[protocol]:
        raise ValueError(
            f"The table has {n_prompts} distinct prompts, but protocol {protocol} splits by prompt "
            f"and needs at least {MIN_PROMPTS[protocol]}; add images of other prompts."
        )
    if n_splits < 1:
        raise ValueError(f"n_splits is {n_splits}; ask for at least 1 split.")
    if protocol == "honest":
        return _plan_honest(prompt_of, n_prompts, seed, n_splits)
    return _plan_kfold(prompt_of, n_prompts, seed)


def train_subset(split: Split, groups: Sequence[str] | NDArray[np.str_], seed: int) -> Rows:
    """Training rows, as many as the validation part has, to measure the train-validation gap on.

    Whole prompts are drawn, as in the validation part, and the last is cut to size; the same
    arguments give the same rows.
    """
    names, prompt_of = np.unique(np.asarray(groups, dtype=str)[split.train], return_inverse=True)
    place = stream(seed, _SUBSET, split.index).permutation(len(names))
    order = np.argsort(place[prompt_of], kind="stable")
    return np.sort(split.train[order[: len(split.validation)]])


def with_train_share(
    split: Split, groups: Sequence[str] | NDArray[np.str_], share: float, seed: int
) -> Split:
    """The split with a share of its training prompts; smaller shares lie within larger ones.

    Args:
        split: The whole split.
        groups: What a split keeps together, one value a row of the table.
        share: Share of the training prompts, in (0, 1]; at least one prompt stays.
        seed: Seed of the order in which prompts are taken, beside the split's index.
    """
    names, prompt_of = np.unique(np.asarray(groups, dtype=str)[split.train], return_inverse=True)
    order = stream(seed, _SHARE, split.index).permutation(len(names))
    kept = order[: max(1, round(share * len(names)))]
    return replace(split, train=split.train[np.isin(prompt_of, kept)])


def _plan_honest(prompt_of: Rows, n_prompts: int, seed: int, n_splits: int) -> SplitPlan:
    n_pool, n_test, n_validation = (
        round(share * n_prompts) for share in (POOL_SHARE, TEST_SHARE, VALIDATION_SHARE)
    )
    order = stream(seed, _POOL).permutation(n_prompts)
    pool, eligible = order[:n_pool], np.sort(order[n_pool:])

    splits: list[Split] = []
    for index in range(n_splits):
        drawn = stream(seed, _SPLIT, index).permutation(eligible)
        test, validation = drawn[:n_test], drawn[n_test : n_test + n_validation]
        train = np.concatenate([drawn[n_test + n_validation :], pool])
        splits.append(_split(index, prompt_of, train, validation, test))

    return SplitPlan(
        protocol="honest",
        seed=seed,
        pool=_rows(prompt_of, pool),
        folds=_pool_folds(prompt_of, pool, seed),
        splits=tuple(splits),
        n_prompts=n_prompts,
        n_pool_prompts=n_pool,
        n_eligible_prompts=len(eligible),
        n_test_prompts=n_test,
        variance_factor=1 / n_splits + n_test / (len(eligible) - n_test),
    )


def _pool_folds(prompt_of: Rows, pool: Rows, seed: int) -> tuple[Split, ...]:
    parts = np.array_split(stream(seed, _FOLDS).permutation(np.sort(pool)), TUNING_FOLDS)
    nothing = np.empty(0, dtype=np.int64)
    return tuple(
        _split(index, prompt_of, np.setdiff1d(pool, part), part, nothing)
        for index, part in enumerate(parts)
    )


def _plan_kfold(prompt_of: Rows, n_prompts: int, seed: int) -> SplitPlan:
    splits: list[Split] = []
    for repeat in range(REPEATS):
        parts = np.array_split(stream(seed, _REPEAT, repeat).permutation(n_prompts), FOLDS)
        for fold in range(FOLDS):
            beside = (fold + 1 + repeat) % FOLDS
            train = np.concatenate([parts[k] for k in range(FOLDS) if k not in (fold, beside)])
            index = repeat * FOLDS + fold
            splits.append(_split(index, prompt_of, train, parts[beside], parts[fold]))

    return SplitPlan(
        protocol="grouped_kfold",
        seed=seed,
        pool=np.empty(0, dtype=np.int64),
        folds=(),
        splits=tuple(splits),
        n_prompts=n_prompts,
        n_pool_prompts=0,
        n_eligible_prompts=n_prompts,
        n_test_prompts=-(-n_prompts // FOLDS),
        variance_factor=1 / len(splits) + 1 / (FOLDS - 1),
    )


def _split(index: int, prompt_of: Rows, train: Rows, validation: Rows, test: Rows) -> Split:
    return Split(index, *(_rows(prompt_of, part) for part in (train, validation, test)))


def _rows(prompt_of: Rows, prompts: Rows) -> Rows:
    return np.flatnonzero(np.isin(prompt_of, prompts)).astype(np.int64)


def grouped_folds(groups: Sequence[str] | NDArray[np.str_], rng: np.random.Generator) -> Rows:
    """Which of five folds (n,) each row is in; the rows of a prompt share theirs."""
    names, prompt_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    fold_of = np.empty(len(names), dtype=np.int64)
    for fold, part in enumerate(np.array_split(rng.permutation(len(names)), FOLDS)):
        fold_of[part] = fold
    return fold_of[prompt_of]


def stream(seed: int, *numbers: int) -> np.random.Generator:
    """Random numbers of their own for each purpose, so that one draw never shifts another."""
    return np.random.default_rng([seed, *numbers])
