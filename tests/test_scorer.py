"""Scoring with a checkpoint: exact after reload, alone as in company, over files of every kind."""

import io
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from qa_core.config import run_config_from_flat
from qa_core.data.splits import plan_splits
from qa_core.errors import UserError
from qa_core.features.workspace import Workspace
from qa_core.model.checkpoint import load_model, read_checkpoint, save_checkpoint, write_whole
from qa_core.modes import resolve
from qa_core.scorer import Scorer, Unreadable
from qa_core.training.trainer import predict
from qa_core.training.training_run import train_run


@pytest.fixture(scope="module")
def workspace(
    narrow_models: None, small_table: Path, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    flags = {"backbone": "narrow-3", "pretrained": "none", "data_csv_path": str(small_table)}
    ranges = {"mos_range_q": (1.0, 5.0), "mos_range_c": (0.0, 10.0)}
    return Workspace.open(run_config_from_flat(flags | ranges), tmp_path_factory.mktemp("cache"))


def checkpoint_of(workspace: Workspace, folder: Path, **flags: object) -> Path:
    settings = {"backbone": "narrow-3", "pretrained": "none", "epochs": 1, "threads": 1}
    config = resolve(run_config_from_flat(settings | {"batch_size": 8} | flags), workspace.spec)
    split = plan_splits(workspace.table.frame["group"].to_numpy(str)).splits[0]
    result = train_run(config, workspace, split, test=False, output_dir=folder)
    assert result.checkpoint is not None
    return result.checkpoint


@pytest.fixture(scope="module")
def checkpoint(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint_of(workspace, tmp_path_factory.mktemp("run"), lr_head=0.01)


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(32, 32), (50, 20), (7, 90), (33, 32), (200, 100)]
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), np.uint8)) for w, h in sizes]


PROMPTS = ["a cat", "a very long description of many things on a table", "a dog", "", "a cat"]


def test_scores_are_the_same_alone_in_company_and_after_reload(checkpoint: Path, tmp_path: Path):
    scorer = Scorer.load(checkpoint, "cpu")
    together = scorer.score(pictures(), PROMPTS)
    alone = [Scorer.load(checkpoint, "cpu").score([i], p) for i, p in zip(pictures(), PROMPTS)]  # noqa: B905
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True), check_exact=True)
    write_whole(checkpoint, tmp_path / "whole.pt")
    whole = Scorer.load(tmp_path / "whole.pt", "cpu").score(pictures(), PROMPTS)
    pd.testing.assert_frame_equal(together, whole, check_exact=True)
    assert len(set(together["q"])) == 5


def test_scores_are_those_of_training(workspace: Workspace, checkpoint: Path):
    model, content = load_model(checkpoint)
    rows = np.arange(6)
    config = run_config_from_flat(content["config"])
    expected = predict(model, workspace.features(config), rows, "cpu")
    frame = workspace.table.frame.iloc[:6]
    found = Scorer.load(checkpoint, "cpu").score(
        frame["image_path"].tolist(), frame["prompt"].tolist()
    )
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)


def test_many_images_in_batches_score_as_one_at_a_time(checkpoint: Path, tmp_path: Path):
    many = [(picture, f"{prompt} {number}") for number in range(14) for picture, prompt in
            zip(pictures(), PROMPTS, strict=True)]  # fmt: skip
    (tmp_path / "broken.png").write_bytes(b"none")
    given = [*many[:40], (tmp_path / "broken.png", "x"), *many[40:]]
    scorer = Scorer.load(checkpoint, "cpu")
    found = [one for one in scorer.stream(given) if not isinstance(one, Unreadable)]
    assert len(found) == len(many) >= 64
    for (picture, prompt), score in zip(many[::7], found[::7], strict=True):
        alone = scorer.score([picture], prompt).iloc[0].to_dict()
        assert alone.keys() == score.keys()
        np.testing.assert_allclose(list(score.values()), list(alone.values()), atol=4e-6)
        assert abs(score["q"] - alone["q"]) < 1e-6 and abs(score["c"] - alone["c"]) < 1e-6
    again = [one for one in scorer.stream(given) if not isinstance(one, Unreadable)]
    assert again == found  # also after prompts were kept from the other shape
    before = torch.get_num_threads()
    scorer.score(pictures(), "x")
    assert torch.get_num_threads() == before


def test_mos_columns_are_on_the_scale_of_the_ratings(checkpoint: Path):
    found = Scorer.load(checkpoint, "cpu").score(pictures(), "a cat")
    np.testing.assert_allclose(found["q_mos"], 1 + 4 * found["q"])
    np.testing.assert_allclose(found["c_mos"], 10 * found["c"])
    whole = (found["c_base_mos"] + found["c_delta_mos"]).clip(0, 10)
    np.testing.assert_allclose(found["c_mos"], whole, rtol=1e-6)
    np.testing.assert_allclose(found["q_delta_mos"], 0.2 * 4 * found["q_delta"], rtol=1e-6)


def test_a_score_that_was_not_trained_is_not_given(workspace: Workspace, tmp_path: Path):
    checkpoint = checkpoint_of(workspace, tmp_path, residual_learning=False)
    content = read_checkpoint(checkpoint)
    save_checkpoint(tmp_path / "one.pt", content | {"range_consistency": None})
    found = Scorer.load(tmp_path / "one.pt", "cpu").score(pictures(), "a cat")
    assert list(found.columns) == ["q", "q_mos"]  # direct prediction has no parts, quality no cos


def doubled(times: int) -> list[Any]:
    """A list that holds 2^times values, and takes as many bytes as one that holds `times`."""
    inner: list[Any] = [0.5]
    for _ in range(times):
        inner = [inner, inner]
    return inner


def nested(depth: int) -> list[Any]:
    inner: list[Any] = [0.5]
    for _ in range(depth):
        inner = [inner]
    return inner


@pytest.mark.parametrize(
    "wrong",
    [
        {"pixel_mean": doubled(60)},
        {"pixel_std": nested(200)},
        {"config": {"backbone": doubled(60)}},
        {"blueprint": {"name": "x", "architecture": {"a": doubled(60)}, "tokenizer": None}},
        {"range_quality": (0.0, math.inf)},
        {"range_quality": (-math.inf, 5.0)},
        {"range_quality": (0.0, math.nan)},
        {"range_quality": (0, 10**400)},
        {"range_quality": "01"},
    ],
)
def test_a_checkpoint_of_odd_values_is_refused_at_once(
    checkpoint: Path, tmp_path: Path, wrong: dict[str, Any]
):
    save_checkpoint(tmp_path / "odd.pt", read_checkpoint(checkpoint) | wrong)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"odd\.pt (is not a whole|does not fit)"):
        load_model(tmp_path / "odd.pt")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("kind", [torch.complex64, torch.int64, torch.bool])
def test_weights_of_another_kind_of_number_are_refused(
    checkpoint: Path, tmp_path: Path, kind: torch.dtype
):
    content = read_checkpoint(checkpoint)
    name = next(iter(content["state"]))
    state = content["state"] | {name: content["state"][name].to(kind)}
    save_checkpoint(tmp_path / "odd.pt", content | {"state": state})
    with pytest.raises(UserError, match="does not fit the backbone"):
        load_model(tmp_path / "odd.pt")


def test_pixels_are_normalised_as_in_training_whatever_the_tag_says(
    checkpoint: Path, tmp_path: Path
):
    content = read_checkpoint(checkpoint)
    save_checkpoint(
        tmp_path / "grey.pt", content | {"pixel_mean": [0.5] * 3, "pixel_std": [0.5] * 3}
    )
    model, _ = load_model(tmp_path / "grey.pt")
    assert model.backbone.pixel_mean.flatten().tolist() == [0.5] * 3
    usual, grey = (
        Scorer.load(p, "cpu").score(pictures(), "x") for p in (checkpoint, tmp_path / "grey.pt")
    )
    assert not np.array_equal(usual["q"], grey["q"])


def test_what_cannot_be_read_is_told_and_passed_over_in_a_stream(checkpoint: Path, tmp_path: Path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing more")
    data = io.BytesIO()
    pictures()[0].save(data, "PNG")
    scorer = Scorer.load(checkpoint, "cpu")
    given = [tmp_path / "broken.png", data.getvalue(), tmp_path / "absent.png", pictures()[1]]
    found = list(scorer.stream((picture, "a cat") for picture in given))
    assert [isinstance(one, Unreadable) for one in found] == [True, False, True, False]
    assert found[1] == scorer.score([pictures()[0]], "a cat").iloc[0].to_dict()
    with pytest.raises(UserError, match="Image 1 cannot be read"):
        scorer.score(given, "a cat")
    with pytest.raises(UserError, match="2 images but 1 prompts"):
        scorer.score(pictures()[:2], ["a cat"])


def test_a_stream_is_read_only_as_far_as_it_is_used(checkpoint: Path):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield pictures()[0], f"prompt {taken}"

    stream = Scorer.load(checkpoint, "cpu").stream(endless())
    for _ in range(5):
        next(stream)
    assert taken < 100


def test_only_best_checkpoints_score(workspace: Workspace, tmp_path: Path):
    save_checkpoint(tmp_path / "last.pt", {"identity": "x", "state": {}, "optimizer": {}})
    with pytest.raises(UserError, match="give the best checkpoint"):
        Scorer.load(tmp_path / "last.pt")
