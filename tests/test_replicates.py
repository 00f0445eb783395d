"""A table in blocks: a run opens its own blocks alone, and comes to what it would on the whole."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from qa_core.config import RunConfig, run_config_from_flat, with_settings
from qa_core.data.image_store import open_image_store
from qa_core.data.protocols import plan_protocol
from qa_core.data.rated_table import RatedTable, blocks_of
from qa_core.data.splits import Split, with_train_share
from qa_core.features.workspace import Workspace
from qa_core.modes import mode_config
from qa_core.training.identity import run_identity
from qa_core.training.stacked_probes import train_probes
from qa_core.training.trainer_state import TrainerState
from qa_core.training.training_run import prepare_run, train_run

PARTS = ["pool"] * 3 + ["train"] * 3 + ["validation"] + ["test"] * 2 + ["reserve"] * 3


@dataclass
class Pair:
    """The same images in blocks and without, and which blocks were drawn."""

    blocked: Workspace
    plain: Workspace
    drawn: list[int]
    base: RunConfig


@pytest.fixture
def pair(narrow_models: None, small_table: Path, tmp_path: Path) -> Pair:
    flags = {"backbone": "narrow-3", "pretrained": "none", "data_csv_path": str(small_table)}
    ranges = {"mos_range_q": (1.0, 5.0), "mos_range_c": (1.0, 5.0)}
    base = run_config_from_flat(flags | ranges | {"threads": 1, "epochs": 1, "batch_size": 2})
    plain = Workspace.open(base, tmp_path)
    parts = np.repeat(PARTS, 2)
    frame = plain.table.frame.assign(part=parts, replicate=np.where(parts == "pool", -1, 0))
    drawn: list[int] = []

    def draw(block: int, names: list[str]) -> None:
        assert names == frame["name"][blocks_of(frame) == block].tolist()
        drawn.append(block)

    table = replace(plain.table, frame=frame, draw=draw)

    def opener(own: RatedTable, crops: bool) -> np.ndarray:
        paths = [Path(path) for path in own.frame["image_path"]]
        return open_image_store(paths, plain.backbone.image_size, tmp_path, drawn=crops)

    blocked = Workspace(table, plain.images, plain.backbone, tmp_path, "cpu", opener=opener)
    return Pair(blocked, plain, drawn, base)


def test_blocks_are_numbered_by_replicate_and_reserve(pair: Pair):
    frame = pair.blocked.table.frame
    expected = [0] * 6 + [1] * 12 + [2] * 6
    assert blocks_of(frame).tolist() == expected
    later = frame[frame["replicate"] == 0].assign(replicate=4)
    assert blocks_of(later).tolist() == [9] * 12 + [10] * 6
    assert pair.plain.table.blocks is None


def test_a_run_opens_its_blocks_alone_and_tells_rows_of_the_whole_table(pair: Pair):
    plan = plan_protocol(pair.blocked.table.frame, n_splits=1)
    (split,) = plan.splits
    config = mode_config("residual_partial_freeze", pair.base, pair.blocked.spec)
    found = train_run(config, pair.blocked, split, test=True)
    assert set(pair.drawn) == {1}
    whole = train_run(config, pair.plain, split, test=True)
    assert found.predictions is not None and whole.predictions is not None
    assert found.predictions["row"].tolist() == split.test.tolist()
    names = pair.blocked.table.frame["name"]
    assert found.predictions["name"].tolist() == names.iloc[split.test].tolist()
    for part in ("q", "c"):
        # activations are computed in other batches, whose last digits differ
        np.testing.assert_allclose(found.predictions[part], whole.predictions[part], rtol=1e-5)


def test_a_larger_share_opens_the_reserve_too(pair: Pair):
    frame = pair.blocked.table.frame
    (split,) = plan_protocol(frame, n_splits=1).splits
    more = with_train_share(split, frame["group"].to_numpy(str), 2.0, seed=0)
    part, own = pair.blocked.holding(more)
    assert set(pair.drawn) == {1, 2}
    assert part.table.frame["name"].iloc[own.train].tolist() == (
        frame["name"].iloc[more.train].tolist()
    )
    assert len(own.train) == 2 * len(split.train)
    assert pair.blocked.holding(more)[0] is part  # opened once
    assert part.holding(own)[0] is part


def test_crops_are_drawn_of_what_is_trained_on_alone(pair: Pair):
    (split,) = plan_protocol(pair.blocked.table.frame, n_splits=1).splits
    config = mode_config("residual_partial_freeze", pair.base, pair.blocked.spec)
    config = with_settings(config, augment="crop_flip")
    pair.blocked.warm([config], [split])
    part, own = pair.blocked.holding(split)
    drawn = part.with_drawn(part.features(config), config, own.train).drawn
    assert drawn is not None and len(drawn.images) == len(own.train)
    assert np.flatnonzero(drawn.place_of >= 0).tolist() == sorted(own.train.tolist())
    here = train_run(config, pair.blocked, split, test=True).predictions
    whole = train_run(config, pair.plain, split, test=True).predictions
    assert here is not None and whole is not None
    np.testing.assert_allclose(here["q"], whole["q"], rtol=1e-5)


def test_the_pool_is_a_block_of_its_own(pair: Pair):
    plan = plan_protocol(pair.blocked.table.frame, n_splits=1)
    config = mode_config("linear_probe", pair.base, pair.blocked.spec)
    pair.blocked.warm([config], plan.folds)
    (alone,) = train_probes([config], pair.blocked, plan.folds[0])
    assert set(pair.drawn) == {0}
    (whole,) = train_probes([config], pair.plain, plan.folds[0])
    assert isinstance(alone, TrainerState) and isinstance(whole, TrainerState)
    assert alone.best_selection == pytest.approx(whole.best_selection)
    assert pair.blocked.n_opened(plan.folds) == 6 and pair.blocked.n_opened(plan.splits) == 12


def test_identity_depends_on_the_split_s_own_rows_and_number(pair: Pair):
    (split,) = plan_protocol(pair.blocked.table.frame, n_splits=1).splits
    config = mode_config("residual", pair.base, pair.blocked.spec)
    identity = run_identity(config, pair.blocked, split, "run")
    assert identity == run_identity(config, *pair.blocked.holding(split), "run")
    assert identity != run_identity(config, pair.blocked, replace(split, index=1), "run")


def test_seeds_differ_by_split_and_agree_across_modes(pair: Pair):
    rows = np.arange(24)
    splits = [Split(k, rows[:12], rows[12:16], rows[16:]) for k in (0, 1)]
    seeds = {
        mode: [
            prepare_run(mode_config(mode, pair.base, pair.plain.spec), pair.plain, split)[
                1
            ].config.train.seed
            for split in splits
        ]
        for mode in ("traditional", "residual", "linear_probe")
    }
    assert len(set(seeds["residual"])) == 2
    assert seeds["traditional"] == seeds["residual"] == seeds["linear_probe"]
    other = run_config_from_flat(pair.base.flat() | {"seed": 1})
    config = mode_config("residual", other, pair.plain.spec)
    assert prepare_run(config, pair.plain, splits[0])[1].config.train.seed not in seeds["residual"]
