"""Probes trained together end where each would end alone."""

from typing import Any

import numpy as np
import pytest

from qa_core.config import RunConfig, run_config_from_flat
from qa_core.data.splits import Split, plan_splits
from qa_core.errors import UserError
from qa_core.features.workspace import Workspace
from qa_core.modes import resolve
from qa_core.training.stacked_probes import (
    MemberOutcome,
    require_stackable,
    train_on_splits,
    train_probes,
)
from qa_core.training.trainer import TrainingDiverged
from qa_core.training.trainer_state import TrainerState
from qa_core.training.training_run import RunResult, train_run


def probe(workspace: Workspace, **flags: Any) -> RunConfig:
    defaults = {"backbone": "narrow-3", "pretrained": "none", "freeze_clip": True, "threads": 1}
    flags = defaults | {"epochs": 3, "batch_size": 8} | flags
    return resolve(run_config_from_flat(flags), workspace.spec)


MEMBERS = [
    {"lr": 1e-3},
    {"lr": 2e-2, "residual_scale_q": 0.4, "weight_decay": 0.5},
    {"lr": 5e-3, "warmup_ratio": 0.5, "seed": 3},
    {"lr": 5e-3, "seed": 4},
]


@pytest.mark.parametrize(
    "common",
    [
        {},
        {"residual_learning": False},
        {"residual_learning": False, "matched_direct": True},
        {"scale_schedule": "learnable"},
        {"max_grad_norm": 0.01},
    ],
    ids=str,
)
def test_members_end_where_each_would_alone(
    workspace: Workspace, split: Split, common: dict[str, Any]
) -> None:
    configs = [probe(workspace, **common, **member) for member in MEMBERS]
    for config, member in zip(configs, train_probes(configs, workspace, split), strict=True):
        assert_ended_alike(member, train_run(config, workspace, split, test=False))


def test_splits_end_where_each_would_alone(workspace: Workspace) -> None:
    groups = workspace.table.frame["group"].to_numpy(str)
    splits = plan_splits(groups).splits[:5]
    assert len({(len(split.train), len(split.validation)) for split in splits}) > 1
    config = probe(workspace)
    for split, member in zip(splits, train_on_splits(config, workspace, splits), strict=True):
        assert_ended_alike(member, train_run(config, workspace, split, test=False))


def assert_ended_alike(member: MemberOutcome, alone: RunResult) -> None:
    assert isinstance(member, TrainerState)
    assert member.best_epoch == alone.best_epoch
    assert len(member.history) == len(alone.history)
    for ours, theirs in zip(member.history, alone.history, strict=True):
        assert ours.keys() == theirs.keys()
        for name in theirs.keys() - {"seconds_per_epoch"}:
            assert ours[name] == pytest.approx(theirs[name], abs=1e-4), name


def test_one_seed_and_a_member_that_diverges(workspace: Workspace, split: Split) -> None:
    configs = [probe(workspace, lr=lr, max_grad_norm=0.0) for lr in (1e-3, 5e-3)]
    whole = train_probes(configs, workspace, split)
    rng = np.random.default_rng(0)
    broken = workspace.subset(np.arange(len(workspace.table.frame)))
    broken.table.frame["mos_quality"] = rng.uniform(0, 1, len(broken.table.frame))
    broken.table.frame.loc[split.train[0], "mos_quality"] = np.inf
    outcomes = train_probes(configs, broken, split)
    assert all(isinstance(outcome, TrainingDiverged) for outcome in outcomes)
    assert all(isinstance(outcome, TrainerState) for outcome in whole)


def test_what_cannot_be_stacked_is_named(workspace: Workspace) -> None:
    for changed, named in (
        ({"batch_size": 4}, "--batch_size"),
        ({"fusion_inputs": ("cos",)}, "--fusion_inputs"),
    ):
        with pytest.raises(UserError, match=named):
            require_stackable([probe(workspace), probe(workspace, **changed)])
    with pytest.raises(UserError, match="--freeze_clip"):
        require_stackable([probe(workspace, freeze_clip=False)])
    with pytest.raises(UserError, match="--scale_schedule"):
        require_stackable([probe(workspace, scale_schedule="curriculum")])
