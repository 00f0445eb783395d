"""Splits: no prompt on two sides, nothing lost, the same draw every time."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_core.data.splits import Split, plan_splits, train_subset, with_train_share


def table(n_prompts: int, seed: int = 0) -> np.ndarray:
    """Prompts of a table with one to five images a prompt, in random order."""
    rng = np.random.default_rng(seed)
    prompts = np.array([f"prompt {k}" for k in range(n_prompts)])
    return rng.permutation(np.repeat(prompts, rng.integers(1, 6, n_prompts)))


def parts_of(split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return split.train, split.validation, split.test


def assert_same(one: Split, other: Split) -> None:
    assert one.index == other.index
    for part, same in zip(parts_of(one), parts_of(other), strict=True):
        np.testing.assert_array_equal(part, same)


@settings(max_examples=30, deadline=None)
@given(st.integers(10, 160), st.integers(0, 1000), st.sampled_from(["honest", "grouped_kfold"]))
def test_parts_share_no_prompt_and_lose_no_row(n_prompts, seed, protocol):
    groups = table(n_prompts, seed)
    plan = plan_splits(groups, protocol, seed, n_splits=4)
    for split in plan.splits:
        rows = np.concatenate(parts_of(split))
        np.testing.assert_array_equal(np.sort(rows), np.arange(len(groups)))
        prompts = [set(groups[part]) for part in parts_of(split)]
        assert all(prompts)
        assert sum(map(len, prompts)) == n_prompts  # all of them, none twice


@settings(max_examples=20, deadline=None)
@given(st.integers(10, 160), st.integers(0, 1000), st.integers(1, 3))
def test_folds_test_every_prompt_once_a_repeat_and_an_eighth_validates(n_prompts, seed, repeats):
    groups = table(n_prompts, seed)
    plan = plan_splits(groups, "honest", seed, n_splits=5 * repeats)
    assert (plan.n_folds, len(plan.splits)) == (5, 5 * repeats)
    tested = np.concatenate([split.test for split in plan.splits])
    np.testing.assert_array_equal(np.bincount(tested), repeats)
    for split in plan.splits:
        n_test, n_validation = (len(set(groups[p])) for p in (split.test, split.validation))
        assert n_test in (n_prompts // 5, plan.n_test_prompts)
        assert n_validation == round((n_prompts - n_test) / 8)


@settings(max_examples=20, deadline=None)
@given(st.integers(10, 160), st.integers(0, 1000))
def test_a_tuned_setting_is_tested_on_no_prompt_of_the_pool(n_prompts, seed):
    groups = table(n_prompts, seed)
    plan = plan_splits(groups, "honest", seed, n_splits=10)
    pool = set(groups[plan.pool])
    assert len(pool) == plan.n_pool_prompts == round(0.3 * n_prompts)
    times: dict[str, int] = {}
    for split in plan.splits:
        tuned = plan.outside_pool(split)
        np.testing.assert_array_equal(tuned.train, split.train)
        np.testing.assert_array_equal(tuned.validation, split.validation)
        assert set(groups[tuned.test]) == set(groups[split.test]) - pool
        assert len(set(groups[tuned.test])) - (n_prompts - len(pool)) // 5 in (0, 1)  # evenly
        for prompt in set(groups[tuned.test]):
            times[prompt] = times.get(prompt, 0) + 1
    assert times == dict.fromkeys(set(groups) - pool, 2)


def test_folds_part_the_pool_in_three():
    groups = table(120)
    plan = plan_splits(groups, "honest", seed=5)
    assert [fold.index for fold in plan.folds] == [0, 1, 2]
    for fold in plan.folds:
        assert len(fold.test) == 0
        assert not set(groups[fold.train]) & set(groups[fold.validation])
        assert len(set(groups[fold.validation])) == 12
        np.testing.assert_array_equal(np.union1d(fold.train, fold.validation), plan.pool)
    held = np.concatenate([fold.validation for fold in plan.folds])
    np.testing.assert_array_equal(np.sort(held), plan.pool)


def test_a_split_depends_on_seed_and_number_only():
    groups = table(130)
    few, many = plan_splits(groups, seed=1, n_splits=2), plan_splits(groups, seed=1, n_splits=9)
    np.testing.assert_array_equal(few.pool, many.pool)
    for one, other in zip(few.splits + few.folds, many.splits[:2] + many.folds, strict=True):
        assert_same(one, other)
    elsewhere = plan_splits(groups, seed=2, n_splits=2)
    assert set(groups[elsewhere.pool]) != set(groups[few.pool])
    assert set(groups[elsewhere.splits[0].test]) != set(groups[few.splits[0].test])
    assert set(groups[few.splits[0].test]) != set(groups[few.splits[1].test])


@pytest.mark.parametrize("protocol", ["honest", "grouped_kfold"])
def test_row_order_does_not_move_prompts(protocol):
    groups = table(60)
    order = np.random.default_rng(9).permutation(len(groups))
    one, other = (plan_splits(rows, protocol) for rows in (groups, groups[order]))
    for a, b in zip(one.splits, other.splits, strict=True):
        assert set(groups[a.test]) == set(groups[order][b.test])
        assert set(groups[a.validation]) == set(groups[order][b.validation])


def test_every_part_is_test_once_a_repeat_and_validation_in_turn():
    groups = table(27)
    plan = plan_splits(groups, "grouped_kfold", seed=3)
    assert len(plan.splits) == 20
    assert len(plan.pool) == 0 and plan.folds == ()
    partners: dict[frozenset, set] = {}
    for start in range(0, 20, 5):
        repeat = plan.splits[start : start + 5]
        for part in ("test", "validation"):
            rows = np.concatenate([getattr(split, part) for split in repeat])
            np.testing.assert_array_equal(np.sort(rows), np.arange(len(groups)))
        tests = [frozenset(split.test.tolist()) for split in repeat]
        offsets = {
            (tests.index(frozenset(split.validation.tolist())) - fold) % 5
            for fold, split in enumerate(repeat)
        }
        partners[frozenset(tests)] = offsets
    assert len(partners) == 4  # each repeat parts the prompts anew
    assert sorted(offset for (offset,) in partners.values()) == [1, 2, 3, 4]


def test_auto_takes_the_pool_from_100_prompts_on():
    assert plan_splits(table(99)).protocol == "grouped_kfold"
    assert plan_splits(table(100)).protocol == "honest"


def test_variance_factor_counts_prompts_that_can_be_tested():
    plan = plan_splits(table(300), n_splits=10)
    counts = (plan.n_prompts, plan.n_pool_prompts, plan.n_eligible_prompts, plan.n_test_prompts)
    assert counts == (300, 90, 300, 60)
    assert plan.variance_factor == pytest.approx(0.1 + 0.25)
    assert plan.validation_factor == pytest.approx(0.1 + 30 / 270)
    assert plan.first(5).variance_factor == pytest.approx(0.2 + 0.25)
    kfold = plan_splits(table(25))
    assert (kfold.n_pool_prompts, kfold.n_eligible_prompts, kfold.n_test_prompts) == (0, 25, 5)
    assert kfold.variance_factor == pytest.approx(0.05 + 0.25)


@pytest.mark.parametrize(
    ("n_prompts", "options", "message"),
    [
        (4, {}, "has 4 distinct prompts.*needs at least 5"),
        (9, {"protocol": "honest"}, "has 9 distinct prompts.*needs at least 10"),
        (50, {"n_splits": 0, "protocol": "honest"}, "n_splits is 0"),
        (50, {"protocol": "random"}, "Unknown protocol 'random'"),
    ],
)
def test_what_cannot_be_split_says_so(n_prompts, options, message):
    with pytest.raises(ValueError, match=message):
        plan_splits(table(n_prompts), **options)


@settings(max_examples=20, deadline=None)
@given(st.integers(10, 120), st.integers(0, 50))
def test_train_subset_is_as_large_as_validation(n_prompts, seed):
    groups = table(n_prompts, seed)
    split = plan_splits(groups, "honest", seed, n_splits=1).splits[0]
    rows = train_subset(split, groups, seed)
    np.testing.assert_array_equal(rows, train_subset(split, groups, seed))
    assert len(np.unique(rows)) == min(len(split.validation), len(split.train))
    assert set(rows) <= set(split.train)
    left = np.setdiff1d(split.train, rows)
    assert len(set(groups[rows]) & set(groups[left])) <= 1  # whole prompts, but for the last


def test_train_subset_moves_with_the_seed():
    groups = table(100)
    split = plan_splits(groups).splits[0]
    assert set(train_subset(split, groups, 0)) != set(train_subset(split, groups, 1))


def test_shares_above_one_take_the_reserve_and_hold_the_smaller_ones():
    groups = table(100)
    rows = [np.flatnonzero(np.isin(groups, [f"prompt {k}" for k in own])) for own in (
        range(20), range(20, 25), range(25, 40), range(40, 100))]  # fmt: skip
    split = Split(3, *rows)
    shares = (0.1, 0.5, 1.0, 2.0, 4.0)
    found = [with_train_share(split, groups, share, seed=1) for share in shares]
    assert [len(set(groups[one.train])) for one in found] == [2, 10, 20, 40, 80]
    for smaller, larger in itertools.pairwise(found):
        assert set(smaller.train) < set(larger.train)
        assert not set(larger.train) & (set(larger.validation) | set(larger.test))
    np.testing.assert_array_equal(found[2].train, split.train)
    np.testing.assert_array_equal(np.sort(found[4].train), np.union1d(split.train, split.reserve))
    with pytest.raises(ValueError, match="no 100 prompts to train on"):
        with_train_share(split, groups, 5.0, seed=1)
