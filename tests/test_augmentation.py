"""Random crops and flips: the same for every run, in training alone, and out of every cache."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qa_core.config import RunConfig, run_config_from_flat, with_settings
from qa_core.data.image_store import ImagesOnDemand, open_image_store
from qa_core.data.pictures import drawn_pixels, image_pixels
from qa_core.data.splits import Split, plan_splits
from qa_core.errors import UserError
from qa_core.features.workspace import Workspace
from qa_core.model.checkpoint import load_model
from qa_core.modes import resolve
from qa_core.scorer import Scorer
from qa_core.settings.training import N_DRAWN
from qa_core.training.stacked_probes import train_probes
from qa_core.training.trainer_state import TrainerState
from qa_core.training.training_run import prepare_run, train_run

FLAGS = {"backbone": "narrow-3", "pretrained": "none", "threads": 1, "epochs": 2, "batch_size": 8}
TRAINED: list[dict[str, Any]] = [
    {},
    {"partial_freeze": True, "freeze_layers": 2},
    {"freeze_clip": True, "lr": 1e-2},
]


def ramp(width: int, height: int) -> Image.Image:
    """An image that tells where each of its pixels lies: red by column, green by row."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)[None, :].round()
    pixels[..., 1] = np.linspace(0, 255, height)[:, None].round()
    return Image.fromarray(pixels)


def spans(crop: np.ndarray) -> tuple[float, float, bool]:
    """Shares of width and height that a crop of a ramp shows, and whether it is mirrored."""
    columns, rows = crop[0].astype(float).mean(axis=0), crop[1].astype(float).mean(axis=1)
    steps = len(columns) / (len(columns) - 1)  # between the middles of the outermost pixels
    width, height = (columns[-1] - columns[0]) * steps / 255, (rows[-1] - rows[0]) * steps / 255
    return abs(width), height, width < 0


def test_crops_show_four_fifths_or_more_and_half_of_them_are_mirrored():
    seen = [spans(crop) for side in range(20) for crop in drawn_pixels(ramp(150 + side, 150), 64)]
    areas = np.array([width * height for width, height, _ in seen])
    stretches = np.array([width / height for width, height, _ in seen])
    assert areas.min() > 0.77 and areas.max() < 1.03 and areas.min() < 0.83 < 0.95 < areas.max()
    assert 0.75 < stretches.min() < 0.9 and 1.1 < stretches.max() < 1.34
    assert np.mean([mirrored for *_, mirrored in seen]) == 0.5


def test_crops_are_the_same_at_every_call_and_lie_within_what_the_view_shows(tmp_path: Path):
    image = ramp(150, 100)
    np.testing.assert_array_equal(drawn_pixels(image, 16), drawn_pixels(image.copy(), 16))
    middle = image_pixels(image, 16, "centre")
    for crop in drawn_pixels(image, 16, "centre"):
        assert middle[0].min() <= crop[0].min() and crop[0].max() <= middle[0].max()
        assert middle[1].min() <= crop[1].min() and crop[1].max() <= middle[1].max()
    image.save(tmp_path / "ramp.png")
    store = open_image_store([tmp_path / "ramp.png"], 16, tmp_path, drawn=True)
    assert store.shape == (1, N_DRAWN, 3, 16, 16)
    np.testing.assert_array_equal(store[0], drawn_pixels(image, 16))
    on_demand = ImagesOnDemand([tmp_path / "ramp.png"], 16, drawn=True)
    np.testing.assert_array_equal(on_demand[np.array([0])], store)
    plain = open_image_store([tmp_path / "ramp.png"], 16, tmp_path)
    np.testing.assert_array_equal(plain[0], image_pixels(image, 16))


@pytest.fixture(scope="module")
def base(narrow_models: None, small_table: Path) -> RunConfig:
    ranges = {"mos_range_q": (1.0, 5.0), "mos_range_c": (1.0, 5.0)}
    flags = FLAGS | ranges | {"data_csv_path": str(small_table), "augment": "crop_flip"}
    return run_config_from_flat(flags)


@pytest.fixture(scope="module")
def workspace(base: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.open(base, tmp_path_factory.mktemp("cache"))


def settled(base: RunConfig, workspace: Workspace, **flags: Any) -> RunConfig:
    return resolve(with_settings(base, **flags), workspace.spec)


@pytest.mark.parametrize("trained", TRAINED, ids=str)
def test_steps_see_crops_and_measures_the_image_itself(
    base: RunConfig, workspace: Workspace, split: Split, trained: dict[str, Any]
):
    config = settled(base, workspace, **trained)
    plain = settled(base, workspace, **trained, augment="none")
    features = prepare_run(config, workspace, split)[1].features
    without = prepare_run(plain, workspace, split)[1].features
    rows = split.train[:4]
    np.testing.assert_array_equal(
        features.batch(rows, "cpu").images, without.batch(rows, "cpu").images
    )
    assert features.drawn is not None and without.drawn is None
    crops = np.asarray(features.drawn.images[features.drawn.place_of[rows]])
    drawn = [features.draw(len(rows)) for _ in range(40)]
    seen = {int(number) for numbers in drawn if numbers is not None for number in numbers[:, 0]}
    assert seen == set(range(N_DRAWN))
    batch = features.batch(rows, "cpu", draw=True)
    assert batch.drawn is not None and batch.views == 1
    for image, own, number in zip(batch.images, crops, batch.drawn[:, 0].tolist(), strict=True):
        np.testing.assert_array_equal(image, own[number])


@pytest.mark.parametrize("trained", TRAINED, ids=str)
def test_the_same_with_and_without_caches_and_other_than_without_crops(
    base: RunConfig, workspace: Workspace, split: Split, trained: dict[str, Any], tmp_path: Path
):
    config = settled(base, workspace, **trained)
    cached = train_run(config, workspace, split, test=True, output_dir=tmp_path)
    bare = with_settings(config, cache=False)
    uncached = train_run(bare, Workspace.open(bare, tmp_path), split, test=True)
    plain = train_run(with_settings(config, augment="none"), workspace, split, test=True)
    assert cached.predictions is not None and cached.checkpoint is not None
    assert uncached.predictions is not None and plain.predictions is not None
    for name in ("q", "c"):
        np.testing.assert_allclose(cached.predictions[name], uncached.predictions[name], atol=1e-5)
    assert not np.allclose(cached.predictions["q"], plain.predictions["q"], atol=1e-5)

    frame = workspace.table.frame.iloc[split.test]
    scorer = Scorer.load(cached.checkpoint, "cpu")
    found = scorer.score(frame["image_path"].tolist(), frame["prompt"].tolist())
    np.testing.assert_allclose(found["q"], cached.predictions["q"], atol=1e-5)
    assert load_model(cached.checkpoint)[1]["config"]["augment"] == "crop_flip"


def test_probes_together_see_the_crops_that_each_would_alone(
    base: RunConfig, workspace: Workspace, split: Split
):
    configs = [settled(base, workspace, freeze_clip=True, seed=s, lr=1e-2) for s in (0, 1)]
    for config, member in zip(configs, train_probes(configs, workspace, split), strict=True):
        alone = train_run(config, workspace, split, test=False)
        assert isinstance(member, TrainerState)
        together, apart = ([e["loss"] for e in h[1:]] for h in (member.history, alone.history))
        np.testing.assert_allclose(together, apart, rtol=1e-5)


def test_embeddings_are_drawn_to_those_of_the_same_crops(
    base: RunConfig, workspace: Workspace, split: Split
):
    config = settled(base, workspace, anchor=1.0)
    model, trainer = prepare_run(config, workspace, split)
    rows = split.train[:6]
    batch = trainer.features.batch(rows, "cpu", draw=True)
    found = trainer.penalties.terms(model, model(batch), rows, batch)["loss_anchor"]
    assert float(found.detach()) == pytest.approx(0, abs=1e-5)  # nothing was trained yet
    other = replace(batch, drawn=(batch.drawn + 1) % N_DRAWN)  # pyright: ignore[reportOptionalOperand]
    apart = trainer.penalties.terms(model, model(batch), rows, other)["loss_anchor"]
    assert float(apart.detach()) > 1e-4


def test_windows_and_crops_at_once_are_refused(base: RunConfig):
    with pytest.raises(UserError, match="--image_view crops"):
        with_settings(base, image_view="crops")


def test_part_of_a_table_is_trained_with_crops_too(base: RunConfig, workspace: Workspace):
    small = workspace.subset(np.arange(len(workspace.table.frame) // 2))
    config = settled(base, workspace, freeze_clip=True)
    own = plan_splits(small.table.frame["group"].to_numpy(str), "grouped_kfold").splits[0]
    assert train_run(config, small, own, test=True).predictions is not None
