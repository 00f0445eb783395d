"""Protocols beyond the prompt-disjoint ones: who may meet whom, and what intervals rest on."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qa_core.data.open_table import join_for_cross, open_table
from qa_core.data.protocols import plan_protocol, protocol_settings, resolve_protocol
from qa_core.data.rated_table import RatedTable
from qa_core.errors import UserError
from qa_core.settings.data import DataConfig


def frame(n_prompts: int = 20, makers: tuple[str, ...] = ("g", "h", "i")) -> pd.DataFrame:
    rows = [
        {"name": f"{m}{p}.png", "prompt": f"p{p}", "group": f"p{p}", "generator": m}
        for p in range(n_prompts)
        for m in makers
    ]
    table = pd.DataFrame(rows)
    return table.assign(mos_quality=np.linspace(0, 1, len(table)), mos_consistency=0.5)


def table(frame: pd.DataFrame, name: str = "a") -> RatedTable:
    return RatedTable(frame, name, "1", (1, 5), (0, 5))


def test_common_chooses_its_epoch_on_a_random_fifth():
    plan = plan_protocol(frame(), "common", seed=3, n_splits=4)
    assert (plan.protocol, plan.interval, plan.folds) == ("common", "nadeau_bengio", ())
    assert plan.variance_factor == pytest.approx(1 / 4 + 1 / 4)
    for split in plan.splits:
        assert len(split.test) == 12
        assert split.validation is split.test
        assert sorted([*split.train, *split.test]) == list(range(60))
    assert not np.array_equal(plan.splits[0].test, plan.splits[1].test)
    again = plan_protocol(frame(), "common", seed=3, n_splits=2)
    np.testing.assert_array_equal(again.splits[1].test, plan.splits[1].test)


def test_published_is_one_draw_of_common_with_the_epoch_chosen_by_consistency():
    plan = plan_protocol(frame(), "published", seed=3, n_splits=4)
    assert (plan.protocol, plan.interval) == ("published", "prompt_bootstrap")
    (split,) = plan.splits
    first = plan_protocol(frame(), "common", seed=3).splits[0]
    np.testing.assert_array_equal(split.test, first.test)
    assert split.validation is split.test
    expected = {"selection_metric": "srocc_consistency", "augment": "crop_flip"}
    assert protocol_settings("published") == expected
    assert protocol_settings("common") == {}
    with pytest.raises(UserError, match="does not rate; take PROTOCOL=common"):
        plan_protocol(frame().drop(columns="mos_consistency"), "published")


def test_left_out_generators_meet_neither_their_images_nor_their_prompts():
    data = frame()
    plan = plan_protocol(data, "leave_one_generator_out", seed=1)
    makers, groups = data["generator"].to_numpy(str), data["group"].to_numpy(str)
    assert (len(plan.splits), plan.interval) == (15, "prompt_bootstrap")
    for split in plan.splits:
        (left_out,) = set(makers[split.test])
        assert left_out == sorted(set(makers))[split.index // 5]
        known = np.concatenate([split.train, split.validation])
        assert left_out not in makers[known]
        parts = [set(groups[rows]) for rows in (split.train, split.validation, split.test)]
        assert parts[0].isdisjoint(parts[1]) and parts[2].isdisjoint(parts[0] | parts[1])
    tested = np.concatenate([split.test for split in plan.splits])
    assert sorted(tested) == list(range(60))  # every image is tested once


def test_a_generator_that_lacks_prompts_has_fewer_splits():
    data = frame()
    few = data.query("generator != 'i' or group == 'p3'").reset_index(drop=True)
    plan = plan_protocol(few, "leave_one_generator_out")
    assert len(plan.splits) == 11
    assert len({split.index for split in plan.splits}) == 11


def test_official_parts_are_kept():
    parts = ["train"] * 40 + ["validation"] * 8 + ["test"] * 12
    plan = plan_protocol(frame().assign(part=parts), "official")
    (split,) = plan.splits
    assert [len(split.train), len(split.validation), len(split.test)] == [40, 8, 12]
    assert plan.interval == "prompt_bootstrap"


def replicates(n: int = 3) -> pd.DataFrame:
    """A pool of 6 prompts and replicates of 8, 2, 5 and 24, two images each, in mixed order."""
    parts = {"train": 8, "validation": 2, "test": 5, "reserve": 24}
    sets = [(-1, "pool", 6), *((r, part, n) for r in range(n) for part, n in parts.items())]
    rows = [
        {"replicate": r, "part": part, "group": f"{r} {part} {k}", "generator": maker}
        for r, part, count in sets
        for k in range(count)
        for maker in ("g", "h")
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=1).reset_index(drop=True)


def test_replicates_have_parts_of_their_own_and_share_nothing():
    data = replicates()
    plan = plan_protocol(data, n_splits=3)
    assert (plan.protocol, plan.interval, plan.n_folds) == ("replicates", "paired_t", 0)
    assert plan.variance_factor == plan.validation_factor == pytest.approx(1 / 3)
    assert plan.first(2).variance_factor == pytest.approx(1 / 2)
    counts = (plan.n_prompts, plan.n_pool_prompts, plan.n_eligible_prompts, plan.n_test_prompts)
    assert counts == (6 + 3 * 15, 6, 15, 5)
    assert plan.largest_share == 4
    seen: set[str] = set()
    groups = data["group"].to_numpy(str)
    for k, split in enumerate(plan.splits):
        for name, rows in zip(
            ("train", "validation", "test", "reserve"),
            (split.train, split.validation, split.test, split.reserve),
            strict=True,
        ):
            own = data.iloc[rows]
            assert set(own["replicate"]) == {k} and set(own["part"]) == {name}
            assert not seen & set(groups[rows])
            seen |= set(groups[rows])
    assert not seen & set(groups[plan.pool])
    for fold in plan.folds:
        np.testing.assert_array_equal(np.union1d(fold.train, fold.validation), plan.pool)
        assert not set(groups[fold.train]) & set(groups[fold.validation])
    same = plan_protocol(data, "replicates", n_splits=2)
    for one, other in zip(same.splits, plan.splits, strict=False):
        np.testing.assert_array_equal(one.test, other.test)


def test_another_protocol_splits_the_first_replicate_alone():
    data = replicates()
    for protocol in ("grouped_kfold", "common", "leave_one_generator_out"):
        plan = plan_protocol(data, protocol, n_splits=2)
        assert plan.protocol == protocol
        tested = np.unique(np.concatenate([split.test for split in plan.splits]))
        own = data.iloc[tested]
        assert set(own["replicate"]) == {0} and "reserve" not in set(own["part"])
    with pytest.raises(UserError, match="column 'part'"):
        plan_protocol(data, "official")


def test_replicates_that_are_not_there_are_refused():
    with pytest.raises(UserError, match="4 replicates were asked for, and the table has 3"):
        plan_protocol(replicates(), n_splits=4)
    with pytest.raises(UserError, match="Only the embedded benchmark"):
        plan_protocol(frame(), "replicates")


def test_without_validation_part_it_is_drawn_thrice_by_prompt():
    data = frame().assign(part=["train"] * 45 + ["test"] * 15)
    plan = plan_protocol(data, "official")
    groups = data["group"].to_numpy(str)
    assert len(plan.splits) == 3
    for split in plan.splits:
        np.testing.assert_array_equal(split.test, np.arange(45, 60))
        assert len(set(groups[split.validation])) == 2  # a tenth of 15 prompts
        assert set(groups[split.validation]).isdisjoint(groups[split.train])
        assert len(split.train) + len(split.validation) == 45


def test_cross_keeps_shared_scores_and_no_shared_prompt():
    first, second = table(frame(), "a"), table(frame(22, ("k",)).drop(columns="mos_quality"), "b")
    second = dataclasses.replace(second, range_quality=None, range_consistency=(0, 100))
    with pytest.raises(UserError, match="Every prompt of a is in b"):
        join_for_cross(first, second)
    beyond = second.frame[second.frame["group"].isin(["p3", "p20", "p21"])].reset_index(drop=True)
    joined = join_for_cross(first, dataclasses.replace(second, frame=beyond))
    assert joined.frame["part"].tolist() == ["train"] * 57 + ["test"] * 3
    assert "mos_quality" not in joined.frame and joined.range_quality is None
    assert joined.range_consistency == (0, 5)
    assert any(note.startswith("3 training images left out") for note in joined.notes)
    plan = plan_protocol(joined.frame, "cross")
    assert plan.protocol == "cross"
    assert all(split.test.tolist() == [57, 58, 59] for split in plan.splits)
    with pytest.raises(UserError, match="no score in common"):
        join_for_cross(table(frame().drop(columns="mos_consistency")), second)


def test_what_a_protocol_lacks_is_said():
    with pytest.raises(UserError, match="a column 'part' with train, validation and test"):
        plan_protocol(frame(), "official")
    with pytest.raises(UserError, match="none for testing"):
        plan_protocol(frame().assign(part="train"), "official")
    with pytest.raises(UserError, match="two generators or more"):
        plan_protocol(frame(makers=("g",)), "leave_one_generator_out")
    with pytest.raises(UserError, match="at least 10"):
        plan_protocol(frame(5), "honest")


def test_a_second_data_set_means_cross():
    two = DataConfig(test_dataset="csv", test_root=".")
    assert resolve_protocol("auto", two) == "cross"
    assert resolve_protocol("auto", DataConfig()) == "auto"
    with pytest.raises(UserError, match="name it by DATA_TEST"):
        resolve_protocol("cross", DataConfig())
    with pytest.raises(UserError, match="not honest"):
        resolve_protocol("honest", two)


def test_a_folder_of_ones_own_takes_the_flags_ranges(small_table: Path):
    folder = str(small_table.parent)
    own = DataConfig(dataset="csv", data_root=folder, mos_range_q=(0.0, 10.0))
    assert open_table(own, "explanation", Path()).range_quality == (0, 10)
    with pytest.raises(UserError, match="agiqa3k declares its ranges"):
        DataConfig(dataset="agiqa3k", data_root=folder, mos_range_q=(0.0, 10.0))
