"""Seeded splits that keep the images of a prompt together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from qa_core.settings.data import ProtocolName

FOLDS = 5
"""Folds of grouped k-fold; each is tested once per repeat."""

POOL_SHARE, VALIDATION_SHARE = 0.3, 1 / 8
"""Shares: of all prompts, in the tuning pool; of the prompts not tested, in the validation part."""

TUNING_FOLDS = 3
REPEATS_WITHOUT_POOL = 4

MIN_PROMPTS_FOR_POOL = 100
"""Below this many prompts `auto` has no tuning pool and repeats four times."""

MIN_PROMPTS = {"honest": 10, "grouped_kfold": FOLDS}

Rows = NDArray[np.int64]


class IntervalKind(StrEnum):
    """What intervals over the splits of a plan rest on."""

    NADEAU_BENGIO = "nadeau_bengio"
    PROMPT_BOOTSTRAP = "prompt_bootstrap"
    PAIRED_T = "paired_t"


# Separate streams of random numbers, so that a draw from one never shifts another.
_POOL, _FOLDS, _SPLIT, _REPEAT, _SUBSET, _SHARE = range(6)

_NONE: Rows = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Split:
    """Rows of one split, ascending; disjoint in prompts by every protocol of this module.

    Attributes:
        index: Number of the split, from 0.
        train: Rows (n_train,).
        validation: Rows (n_validation,).
        test: Rows (n_test,); empty in a fold of the tuning pool.
        reserve: Rows that only a share above 1 of the training prompts trains on; mostly none.
    """

    index: int
    train: Rows
    validation: Rows
    test: Rows
    reserve: Rows = field(default_factory=_NONE.copy)


@dataclass(frozen=True)
class SplitPlan:
    """All splits of a table under one protocol.

    Attributes:
        protocol: Its name, never `auto`.
        seed: What all of it was drawn from.
        pool: Rows (n_pool,) of the tuning pool; empty where there is none.
        folds: Three grouped folds of the pool, without test part; none without a pool.
        splits: The splits, by index.
        n_prompts: All prompts that some split or the pool holds, reserves left out.
        n_pool_prompts: Prompts of the pool.
        n_eligible_prompts: Prompts that can land in a test part.
        n_test_prompts: Prompts of a test part (the largest, where parts are not equal).
        variance_factor: 1/J + n_test / (n_eligible - n_test) with J splits, in prompts: what the
            mean over splits multiplies the variance between splits with (Nadeau and Bengio 2003,
            corrected resampled t; 1/J + 1/4 in 5-fold). 1/J where splits are independent.
        validation_factor: The same for measures taken on the validation parts.
        interval: What intervals rest on: the spread over re-splits, that over independent
            replicates or, where there is one test part, a bootstrap over its prompts.
        n_folds: Splits of a repeat of k-fold, in order; 0 elsewhere.
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
    validation_factor: float
    interval: IntervalKind = IntervalKind.NADEAU_BENGIO
    n_folds: int = 0

    @property
    def largest_share(self) -> float:
        """The largest share of its training rows that each split can train on: 1, or more."""
        return min(1 + len(split.reserve) / len(split.train) for split in self.splits)

    def first(self, count: int) -> "SplitPlan":
        """The plan with its first `count` splits alone, and the factors of so many."""
        fewer = 1 / count - 1 / len(self.splits)
        return replace(
            self,
            splits=self.splits[:count],
            variance_factor=self.variance_factor + fewer,
            validation_factor=self.validation_factor + fewer,
        )

    def outside_pool(self, split: Split) -> Split:
        """The split tested on prompts outside the pool alone, as a tuned setting has to be."""
        return replace(split, test=np.setdiff1d(split.test, self.pool))


def plan_splits(
    groups: Sequence[str] | NDArray[np.str_],
    protocol: ProtocolName = "auto",
    seed: int = 0,
    n_splits: int = 10,
) -> SplitPlan:
    """The splits of a table by its prompts: grouped 5-fold over all of them, repeated.

    `honest` makes as many splits as are asked for, five a repeat; an eighth of the prompts that a
    split does not test are its validation part, and 30 % of all prompts, which a tuned setting is
    not tested on, are a tuning pool. `grouped_kfold` has no pool and repeats four times whatever
    `n_splits`; one of the other four parts, in turn, is validation. Split k depends on the
    prompts, `seed` and k alone.

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
            f"The table has {n_prompts} distinct prompts (an image without one counts as one), but "
            f"protocol {protocol} splits by prompt and needs at least {MIN_PROMPTS[protocol]}; add "
            "images of other prompts."
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
        share: Share of the training prompts, above 0; at least one prompt stays, and what a share
            above 1 adds comes from the reserve.
        seed: Seed of the order in which prompts are taken, beside the split's index.

    Raises:
        ValueError: The reserve has too few prompts.
    """
    groups = np.asarray(groups, dtype=str)
    n_train = len(np.unique(groups[split.train]))
    wanted = max(1, round(share * n_train))
    kept = _first_prompts(split.train, groups, wanted, stream(seed, _SHARE, split.index))
    if wanted > n_train:
        rng = stream(seed, _SHARE, split.index, 1)
        more = _first_prompts(split.reserve, groups, wanted - n_train, rng)
        kept = np.union1d(kept, more)
        if len(np.unique(groups[kept])) < wanted:
            raise ValueError(f"Split {split.index} has no {wanted} prompts to train on.")
    return replace(split, train=kept)


def _first_prompts(
    rows: Rows, groups: NDArray[np.str_], count: int, rng: np.random.Generator
) -> Rows:
    """The rows of the first prompts of a random order."""
    names, prompt_of = np.unique(groups[rows], return_inverse=True)
    return rows[np.isin(prompt_of, rng.permutation(len(names))[:count])]


def _plan_honest(prompt_of: Rows, n_prompts: int, seed: int, n_splits: int) -> SplitPlan:
    n_pool = round(POOL_SHARE * n_prompts)
    pool, others = np.split(stream(seed, _POOL).permutation(n_prompts), [n_pool])
    splits: list[Split] = []
    for index in range(n_splits):
        rng = stream(seed, _REPEAT, index // FOLDS)
        # an even share of the pool in each part, so that a tuned setting is tested as evenly
        pairs = zip(_parts(pool, rng), _parts(others, rng)[::-1], strict=True)
        parts = [np.concatenate(pair) for pair in pairs]
        test = parts.pop(index % FOLDS)
        rest = stream(seed, _SPLIT, index).permutation(np.sort(np.concatenate(parts)))
        n_validation = round(VALIDATION_SHARE * len(rest))
        validation, train = rest[:n_validation], rest[n_validation:]
        splits.append(_split(index, prompt_of, train, validation, test))
    return _kfold_plan(
        "honest",
        prompt_of,
        splits,
        seed,
        pool=_rows(prompt_of, pool),
        folds=pool_folds(prompt_of, pool, seed),
        n_pool_prompts=n_pool,
    )


def pool_folds(prompt_of: Rows, pool: Rows, seed: int) -> tuple[Split, ...]:
    """Three folds of a pool for tuning, of its prompts by number, without test part."""
    parts = np.array_split(stream(seed, _FOLDS).permutation(np.sort(pool)), TUNING_FOLDS)
    return tuple(
        _split(index, prompt_of, np.setdiff1d(pool, part), part, _NONE)
        for index, part in enumerate(parts)
    )


def _plan_kfold(prompt_of: Rows, n_prompts: int, seed: int) -> SplitPlan:
    splits: list[Split] = []
    for repeat in range(REPEATS_WITHOUT_POOL):
        parts = _parts(np.arange(n_prompts), stream(seed, _REPEAT, repeat))
        for fold in range(FOLDS):
            beside = (fold + 1 + repeat) % FOLDS
            train = np.concatenate([parts[k] for k in range(FOLDS) if k not in (fold, beside)])
            index = repeat * FOLDS + fold
            splits.append(_split(index, prompt_of, train, parts[beside], parts[fold]))
    return _kfold_plan("grouped_kfold", prompt_of, splits, seed)


def _parts(prompts: Rows, rng: np.random.Generator) -> list[Rows]:
    return np.array_split(rng.permutation(np.sort(prompts)), FOLDS)


def _kfold_plan(
    protocol: ProtocolName,
    prompt_of: Rows,
    splits: list[Split],
    seed: int,
    pool: Rows = _NONE,
    folds: tuple[Split, ...] = (),
    n_pool_prompts: int = 0,
) -> SplitPlan:
    n_prompts = int(prompt_of.max()) + 1
    n_validation = max(len(np.unique(prompt_of[split.validation])) for split in splits)
    return SplitPlan(
        protocol=protocol,
        seed=seed,
        pool=pool,
        folds=folds,
        splits=tuple(splits),
        n_prompts=n_prompts,
        n_pool_prompts=n_pool_prompts,
        n_eligible_prompts=n_prompts,
        n_test_prompts=-(-n_prompts // FOLDS),
        variance_factor=1 / len(splits) + 1 / (FOLDS - 1),
        validation_factor=1 / len(splits) + n_validation / (n_prompts - n_validation),
        n_folds=FOLDS,
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
