"""Tables with missing ratings or without prompts, from training to scoring."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.predict import PredictArgs, predict
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.data.splits import plan_splits
from qa_core.errors import UserError
from qa_core.features.workspace import Workspace
from qa_core.measures.evaluation import score_predictions
from qa_core.modes import resolve
from qa_core.scorer import Scorer
from qa_core.training.losses import plcc_loss, rank_loss, with_missing_filled
from qa_core.training.stacked_probes import train_probes
from qa_core.training.trainer_state import TrainerState
from qa_core.training.training_run import RunResult, train_run

FLAGS = {"backbone": "narrow-3", "pretrained": "none", "epochs": 2, "threads": 1, "batch_size": 4}


def table_of(tmp_path: Path, small_table: Path, **columns: object) -> dict[str, Any]:
    frame = pd.read_csv(small_table).assign(**columns)
    frame = frame.drop(columns=[name for name, value in columns.items() if value is None])
    frame.to_csv(tmp_path / "mine.csv", index=False)
    return FLAGS | {
        "data_csv_path": str(tmp_path / "mine.csv"),
        "image_base_dir": str(small_table.parent),
    }


def run(flags: dict[str, Any], cache: Path, **more: object) -> tuple[RunResult, RunConfig]:
    config = run_config_from_flat(flags | more)
    workspace = Workspace.open(config, cache)
    config = resolve(config, workspace.spec)
    split = plan_splits(workspace.table.frame["group"].to_numpy(str)).splits[0]
    out = cache / "out"
    return train_run(config, workspace, split, test=True, output_dir=out, standalone=True), config


def test_missing_scores_leave_no_error_and_no_gradient():
    mos = torch.tensor([0.2, float("nan"), 0.9, float("nan"), 0.5, 0.4])
    for loss in (
        lambda p: torch.nn.functional.mse_loss(p, with_missing_filled(mos, p)),
        lambda p: plcc_loss(p, mos),
        lambda p: rank_loss(p, mos),
    ):
        prediction = torch.tensor([0.5, 0.1, 0.4, 0.3, 0.8, 0.2], requires_grad=True)
        loss(prediction).backward()
        assert prediction.grad is not None
        assert (
            prediction.grad[[1, 3]].tolist() == [0, 0]
            and (prediction.grad[[0, 2, 4, 5]] != 0).all()
        )
    nothing = torch.full((3,), float("nan"))
    prediction = torch.rand(3, requires_grad=True)
    assert float(plcc_loss(prediction, nothing)) == float(rank_loss(prediction, nothing)) == 0


def test_measures_are_those_of_the_rated_rows():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((30, 2)), columns=["q", "mos_quality"]).assign(generator="a")
    rated = frame.copy()
    frame = pd.concat([frame, frame.head(9).assign(mos_quality=np.nan, generator="b")])
    assert score_predictions(frame) == score_predictions(rated)


def test_one_score_may_be_missing_in_rows(narrow_models, tmp_path: Path, small_table: Path):
    frame = pd.read_csv(small_table)
    align = frame["mos_align"].astype(object)
    align[::3] = "NA"
    flags = table_of(tmp_path, small_table, mos_align=align)
    for more in ({}, {"residual_learning": False, "use_refinement": True}, {"base_init": "fit"}):
        result, _ = run(flags, tmp_path / "cache", **more)
        assert all(np.isfinite(value) for value in result.history[-1].values())
        assert {"test_srocc_quality", "test_srocc_consistency"} <= result.metrics.keys()
        assert result.predictions is not None and any(
            np.isnan(result.predictions["mos_consistency"])
        )


def test_probes_stacked_or_alone_read_missing_scores_alike(
    narrow_models, tmp_path: Path, small_table: Path
):
    frame = pd.read_csv(small_table)
    quality = frame["mos_quality"].where(frame.index % 4 > 0)
    flags = table_of(tmp_path, small_table, mos_quality=quality) | {"freeze_clip": True}
    result, config = run(flags, tmp_path / "cache")
    workspace = Workspace.open(config, tmp_path / "cache")
    split = plan_splits(workspace.table.frame["group"].to_numpy(str)).splits[0]
    (stacked,) = train_probes([config], workspace, split)
    assert isinstance(stacked, TrainerState)
    assert stacked.history[-1]["loss"] == pytest.approx(result.history[-1]["loss"], rel=1e-4)


def test_photographs_without_prompts_are_trained_on_and_scored(
    narrow_models, tmp_path: Path, small_table: Path, monkeypatch: pytest.MonkeyPatch
):
    flags = table_of(tmp_path, small_table, prompt=None, mos_align=None)
    result, _ = run(flags, tmp_path / "cache")
    assert "test_srocc_quality" in result.metrics and result.checkpoint is not None
    scorer = Scorer.load(result.checkpoint, "cpu")
    assert not scorer.needs_prompts
    image = str(small_table.parent / "p00_0.png")
    bare = scorer.score([image])
    asked = scorer.score([image], "a red cube")
    assert bare["q"].tolist() == asked["q"].tolist()
    assert "cos" not in bare  # with a blank text it says nothing
    out = tmp_path / "scores.csv"
    predict(PredictArgs(checkpoint=result.checkpoint, images=str(small_table.parent), out=out))
    scores = pd.read_csv(out)
    assert len(scores) == 24 and np.isfinite(scores["q"]).all() and "cos" not in scores


def test_a_checkpoint_with_consistency_asks_for_prompts(
    narrow_models, tmp_path: Path, small_table: Path
):
    result, _ = run(table_of(tmp_path, small_table), tmp_path / "cache")
    assert result.checkpoint is not None
    scorer = Scorer.load(result.checkpoint, "cpu")
    with pytest.raises(UserError, match="scores consistency too: say what was asked for"):
        scorer.score([str(small_table.parent / "p00_0.png")])
