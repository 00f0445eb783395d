"""The splits of a rated table under any protocol; those by prompt alone are in `splits`."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from qa_core.data.splits import (
    FOLDS,
    IntervalKind,
    Rows,
    Split,
    SplitPlan,
    grouped_folds,
    plan_splits,
    pool_folds,
    stream,
)
from qa_core.errors import UserError
from qa_core.settings.data import DataConfig, ProtocolName

TEST_SHARE = 0.2
"""Share of all images in the test part of `common`."""

DECIDING: tuple[ProtocolName, ...] = ("replicates", "honest", "grouped_kfold")
"""Protocols that decide claims: re-splits by prompt, nothing chosen on test."""

VALIDATION_SHARE = 0.1
"""Share of the training prompts in validation, where an official split names no such part."""

VALIDATION_DRAWS = 3
"""How often that validation part is drawn: as many models are tested on the one test part."""

_COMMON, _DRAW, _GENERATOR = 100, 101, 102  # streams of random numbers apart from those of `splits`


def resolve_protocol(asked: ProtocolName, config: DataConfig) -> ProtocolName:
    """`cross` where a second data set is named, else what was asked for.

    Raises:
        UserError: The two contradict each other.
    """
    if config.test_dataset is None:
        if asked == "cross":
            raise UserError("Protocol cross needs a data set to test on: name it by DATA_TEST.")
        return asked
    if asked not in ("auto", "cross"):
        raise UserError(f"A data set to test on means protocol cross, not {asked}: leave one out.")
    return "cross"


def protocol_settings(protocol: ProtocolName) -> dict[str, Any]:
    """Flags of a run that a protocol sets, where nobody says otherwise.

    `published` chooses the epoch by consistency, and trains on random crops and flips.
    """
    if protocol != "published":
        return {}
    return {"selection_metric": "srocc_consistency", "augment": "crop_flip"}


def plan_protocol(
    frame: pd.DataFrame, protocol: ProtocolName = "auto", seed: int = 0, n_splits: int = 10
) -> SplitPlan:
    """The splits of a table.

    `replicates` (auto where the table consists of them): each has parts of its own, and shares
    nothing with another or with the pool. Any other protocol splits the first replicate alone.
    `honest` and `grouped_kfold` (auto elsewhere): see `plan_splits`. `common`: 80/20 of the images
    at random, ten times, the best epoch chosen *on test*, as most papers do; for comparison with
    them only. `published`: the first of these draws alone, the epoch chosen by consistency, trained
    on random crops and flips, as in the ablation that was published with residual learning.
    `official` and `cross`: the one test part that the column `part` names.
    `leave_one_generator_out`: in each of five folds of the prompts, a model that saw neither those
    prompts nor the generator is tested on that generator's images of them.

    Args:
        frame: Frame of a rated table.
        protocol: Its name.
        seed: Seed of every draw.
        n_splits: Number of splits of `replicates`, `honest` and `common`.

    Raises:
        UserError: The table lacks what the protocol needs.
    """
    if protocol == "replicates" or (protocol == "auto" and "replicate" in frame):
        return _plan_replicates(frame, seed, n_splits)
    if "replicate" in frame:
        return _plan_first_replicate(frame, protocol, seed, n_splits)
    groups = frame["group"].to_numpy(dtype=str)
    if protocol == "common":
        return _plan_common(groups, seed, n_splits)
    if protocol == "published":
        return _plan_published(frame, groups, seed)
    if protocol in ("official", "cross"):
        return replace(_plan_official(frame, groups, seed), protocol=protocol)
    if protocol == "leave_one_generator_out":
        return _plan_generators(frame, groups, seed)
    try:
        return plan_splits(groups, protocol, seed, n_splits)
    except ValueError as error:
        raise UserError(str(error)) from error


def _plan_replicates(frame: pd.DataFrame, seed: int, n_splits: int) -> SplitPlan:
    if "replicate" not in frame:
        raise UserError(
            "Only the embedded benchmark consists of replicates: leave PROTOCOL at auto."
        )
    replicate, part = frame["replicate"].to_numpy(np.int64), frame["part"].to_numpy(str)
    there = int(replicate.max()) + 1
    if not 1 <= n_splits <= there:
        raise UserError(f"{n_splits} replicates were asked for, and the table has {there}.")
    names = ("train", "validation", "test", "reserve")
    splits = [
        Split(k, *(np.flatnonzero((replicate == k) & (part == name)) for name in names))
        for k in range(n_splits)
    ]
    groups = frame["group"].to_numpy(str)
    pool = np.flatnonzero(part == "pool")
    prompt_of = np.unique(groups, return_inverse=True)[1]
    used = (replicate < n_splits) & (part != "reserve")
    return replace(
        _plan("replicates", groups, splits, seed, 1 / n_splits),
        pool=pool,
        folds=pool_folds(prompt_of, np.unique(prompt_of[pool]), seed),
        n_prompts=len(np.unique(groups[used])),
        n_pool_prompts=len(np.unique(groups[pool])),
        n_eligible_prompts=len(np.unique(groups[used & (part == "test")])),
        interval=IntervalKind.PAIRED_T,
    )


def _plan_first_replicate(
    frame: pd.DataFrame, protocol: ProtocolName, seed: int, n_splits: int
) -> SplitPlan:
    rows = np.flatnonzero((frame["replicate"] == 0) & (frame["part"] != "reserve"))
    first = frame.iloc[rows].drop(columns=["replicate", "part"])
    plan = plan_protocol(first, protocol, seed, n_splits)

    def moved(split: Split) -> Split:
        return Split(split.index, rows[split.train], rows[split.validation], rows[split.test])

    splits, folds = (tuple(map(moved, own)) for own in (plan.splits, plan.folds))
    return replace(plan, splits=splits, folds=folds, pool=rows[plan.pool])


def _plan_common(groups: np.ndarray, seed: int, n_splits: int) -> SplitPlan:
    n_test = round(TEST_SHARE * len(groups))
    if min(n_test, len(groups) - n_test) < 2:
        raise UserError(f"{len(groups)} images are too few to set a fifth of them apart.")
    splits: list[Split] = []
    for index in range(n_splits):
        order = stream(seed, _COMMON, index).permutation(len(groups))
        test, train = np.sort(order[:n_test]), np.sort(order[n_test:])
        splits.append(Split(index, train, validation=test, test=test))
    share = n_test / (len(groups) - n_test)  # images are the unit here, not prompts
    return _plan("common", groups, splits, seed, 1 / n_splits + share)


def _plan_published(frame: pd.DataFrame, groups: np.ndarray, seed: int) -> SplitPlan:
    if "mos_consistency" not in frame:
        raise UserError(
            "Protocol published chooses the epoch by consistency, which this table does not rate;"
            " take PROTOCOL=common."
        )
    plan = _plan_common(groups, seed, n_splits=1)
    return replace(plan, protocol="published", interval=IntervalKind.PROMPT_BOOTSTRAP)


def _plan_official(frame: pd.DataFrame, groups: np.ndarray, seed: int) -> SplitPlan:
    if "part" not in frame:
        raise UserError(
            "Protocol official needs the split of the data set's makers: a column 'part' with"
            " train, validation and test; this table has none."
        )
    parts = frame["part"].to_numpy(dtype=str)
    train, validation, test = (
        np.flatnonzero(parts == name) for name in ("train", "validation", "test")
    )
    if not len(train) or not len(test):
        raise UserError("The column 'part' names no image for training or none for testing.")
    if len(validation):
        splits = [Split(0, train, validation, test)]
    else:
        splits = [
            Split(draw, *_draw_validation(groups, train, seed, draw), test)
            for draw in range(VALIDATION_DRAWS)
        ]
    plan = _plan("official", groups, splits, seed, 1 / len(splits))
    return replace(plan, interval=IntervalKind.PROMPT_BOOTSTRAP)


def _draw_validation(groups: np.ndarray, train: Rows, seed: int, draw: int) -> tuple[Rows, Rows]:
    """Training rows without, and of, a tenth of their prompts."""
    prompts = np.unique(groups[train])
    n_validation = max(1, round(VALIDATION_SHARE * len(prompts)))
    if len(prompts) <= n_validation:
        raise UserError("All training images share one prompt: none is left to choose epochs on.")
    drawn = stream(seed, _DRAW, draw).permutation(prompts)[:n_validation]
    apart = np.isin(groups[train], drawn)
    return train[~apart], train[apart]


def _plan_generators(frame: pd.DataFrame, groups: np.ndarray, seed: int) -> SplitPlan:
    makers = frame["generator"].to_numpy(dtype=str) if "generator" in frame else np.empty(0, str)
    names = sorted(set(makers))
    if len(names) < 2:
        raise UserError("Protocol leave_one_generator_out needs images of two generators or more.")
    folds = grouped_folds(groups, stream(seed, _GENERATOR))
    splits: list[Split] = []
    for number, name in enumerate(names):
        own = makers == name
        for fold in range(FOLDS):
            validation_fold = (fold + 1) % FOLDS
            test = np.flatnonzero(own & (folds == fold))
            validation = np.flatnonzero(~own & (folds == validation_fold))
            train = np.flatnonzero(~own & (folds != fold) & (folds != validation_fold))
            if len(test) and len(validation) and len(train):
                splits.append(Split(number * FOLDS + fold, train, validation, test))
    plan = _plan("leave_one_generator_out", groups, splits, seed, 1 / len(splits))
    return replace(plan, interval=IntervalKind.PROMPT_BOOTSTRAP)


def _plan(
    protocol: ProtocolName, groups: np.ndarray, splits: list[Split], seed: int, factor: float
) -> SplitPlan:
    """A plan without tuning pool; `factor` is what a variance over splits is multiplied with."""
    n_prompts = len(np.unique(groups))
    return SplitPlan(
        protocol=protocol,
        seed=seed,
        pool=np.empty(0, dtype=np.int64),
        folds=(),
        splits=tuple(splits),
        n_prompts=n_prompts,
        n_pool_prompts=0,
        n_eligible_prompts=n_prompts,
        n_test_prompts=max(len(np.unique(groups[split.test])) for split in splits),
        variance_factor=factor,
        validation_factor=factor,
    )
