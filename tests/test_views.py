"""Views of an image: whole, padded, and crops; the same scores with and without every cache."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from qa_core.config import run_config_from_flat
from qa_core.data.decode import decode_image, image_pixels
from qa_core.data.image_store import ImagesOnDemand, open_image_store
from qa_core.data.splits import plan_splits
from qa_core.features.inputs import draw_views
from qa_core.features.workspace import Workspace
from qa_core.model.checkpoint import load_model
from qa_core.modes import resolve
from qa_core.scorer import Scorer
from qa_core.settings.data import ImageView
from qa_core.training.stacked_probes import train_probes
from qa_core.training.trainer import predict
from qa_core.training.trainer_state import TrainerState
from qa_core.training.training_run import train_run


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def test_padding_keeps_the_aspect_ratio():
    image = Image.new("RGB", (40, 20), "black")
    padded = image_pixels(image, 16, "padded")
    assert padded[:, 4:12].max() == 0
    assert padded[:, 0, 0].tolist() == padded[:, 15, 15].tolist() == [123, 117, 104]
    np.testing.assert_array_equal(image_pixels(noise(16, 16), 16, "padded"), pixels(noise(16, 16)))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)


def test_crops_are_the_whole_and_native_windows_from_edge_to_edge():
    image = noise(50, 35)
    views = image_pixels(image, 16, "crops")
    assert views.shape == (10, 3, 16, 16)
    np.testing.assert_array_equal(views[0], image_pixels(image, 16))
    native = pixels(image)
    tops, lefts = (0, 10, 19), (0, 17, 34)
    windows = [native[:, y : y + 16, x : x + 16] for y in tops for x in lefts]
    np.testing.assert_array_equal(views[1:], windows)


def test_centre_is_the_window_in_the_middle_and_the_whole_of_a_small_image():
    image = noise(50, 35)
    np.testing.assert_array_equal(
        image_pixels(image, 16, "centre"), image_pixels(image, 16, "crops")[5]
    )
    np.testing.assert_array_equal(image_pixels(image, 16, "centre"), pixels(image)[:, 10:26, 17:33])
    np.testing.assert_array_equal(image_pixels(image, 18, "centre"), image_pixels(image, 18))


@pytest.mark.parametrize(
    ("flags", "view"),
    [
        ({}, "whole"),
        ({"data_csv_path": "t.csv"}, "centre"),
        ({"dataset": "agiqa3k", "data_root": "folder"}, "centre"),
        ({"data_csv_path": "t.csv", "image_view": "whole"}, "whole"),
        ({"data_csv_path": "t.csv", "backbone": "ViT-B-32"}, "whole"),
        ({"image_view": "crops"}, "crops"),
    ],
    ids=str,
)
def test_the_embedded_backbone_sees_the_centre_of_ones_own_images_unless_told(
    flags: dict[str, Any], view: ImageView
):
    config = run_config_from_flat(flags)
    assert config.image_view == config.data.image_view == config.flat()["image_view"] == view


def test_windows_of_a_small_image_show_half_of_its_short_side():
    image = Image.new("RGB", (20, 10), "black")
    image.paste("white", (10, 0, 20, 10))
    views = image_pixels(image, 16, "crops")
    assert views[1].max() == 0 and views[3].min() == 255
    middle = views[2]  # centred on the edge
    assert middle[:, :, 0].max() == 0 and middle[:, :, 15].min() == 255


def test_windows_lie_on_the_upright_image(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying; to be turned a quarter clockwise
    noise(40, 60).save(tmp_path / "turned.png", exif=exif)
    turned = decode_image(tmp_path / "turned.png", 16, "crops")
    upright = noise(40, 60).transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(turned, image_pixels(upright, 16, "crops"))


def test_the_store_keeps_every_view_apart_from_other_views(tmp_path: Path):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        noise(30 + number, 40).save(path)
    views: tuple[ImageView, ...] = ("whole", "padded", "centre", "crops")
    stores = {v: open_image_store(paths, 16, tmp_path / "cache", view=v) for v in views}
    assert stores["crops"].shape == (3, 10, 3, 16, 16)
    for view in views:
        store, rows = stores[view], np.array([2, 0])
        np.testing.assert_array_equal(ImagesOnDemand(paths, 16, view)[rows], store[rows])
    assert not np.array_equal(stores["whole"], stores["padded"])


def test_a_training_step_sees_the_whole_and_other_windows_each_time():
    torch.manual_seed(0)
    drawn = draw_views(200, 10)
    assert drawn.shape == (200, 5) and (drawn[:, 0] == 0).all()
    assert all(len(set(row)) == 5 for row in drawn.tolist())
    assert set(drawn[:, 1:].flatten().tolist()) == set(range(1, 10))


FLAGS = {"backbone": "narrow-3", "pretrained": "none", "threads": 1, "epochs": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def base(narrow_models: None, small_table: Path) -> dict[str, Any]:
    ranges = {"mos_range_q": (1.0, 5.0), "mos_range_c": (1.0, 5.0)}
    return FLAGS | ranges | {"data_csv_path": str(small_table), "image_view": "crops"}


@pytest.fixture(scope="module")
def workspace(base: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.open(run_config_from_flat(base), tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(
    "mode", [{"freeze_clip": True}, {"partial_freeze": True, "freeze_layers": 2}], ids=str
)
def test_crops_give_the_same_with_and_without_caches_and_in_the_scorer(
    base: dict[str, Any], workspace: Workspace, mode: dict[str, Any], tmp_path: Path
):
    config = resolve(run_config_from_flat(base | mode), workspace.spec)
    split = plan_splits(workspace.table.frame["group"].to_numpy(str)).splits[0]
    cached = train_run(config, workspace, split, test=True, output_dir=tmp_path)
    plain = resolve(run_config_from_flat(base | mode | {"cache": False}), workspace.spec)
    bare = train_run(plain, Workspace.open(plain, tmp_path), split, test=True)
    assert cached.predictions is not None and bare.predictions is not None
    for name in ("q", "c"):
        np.testing.assert_allclose(cached.predictions[name], bare.predictions[name], atol=1e-5)

    assert cached.checkpoint is not None
    model, _ = load_model(cached.checkpoint)
    expected = predict(model, workspace.features(config), split.test, "cpu")
    frame = workspace.table.frame.iloc[split.test]
    scorer = Scorer.load(cached.checkpoint, "cpu")
    found = scorer.score(frame["image_path"].tolist(), frame["prompt"].tolist())
    np.testing.assert_allclose(found["q"], expected["q"], atol=1e-5)
    np.testing.assert_allclose(found["cos"], expected["cos"], atol=1e-5)


def test_probes_together_draw_the_windows_that_each_would_alone(
    base: dict[str, Any], workspace: Workspace
):
    split = plan_splits(workspace.table.frame["group"].to_numpy(str)).splits[0]
    flags = base | {"freeze_clip": True}
    configs = [
        resolve(run_config_from_flat(flags | {"seed": seed, "lr": 1e-2}), workspace.spec)
        for seed in (0, 1)
    ]
    for config, member in zip(configs, train_probes(configs, workspace, split), strict=True):
        alone = train_run(config, workspace, split, test=False)
        assert isinstance(member, TrainerState)
        losses = [
            [epoch["loss"] for epoch in found[1:]] for found in (member.history, alone.history)
        ]
        np.testing.assert_allclose(*losses, rtol=1e-5)
