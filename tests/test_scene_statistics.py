"""Scene statistics: what they say of simple images, when they are read again, what they refuse."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qa_core.errors import UserError
from qa_core.features.scene_statistics import (
    LARGEST,
    N_STATISTICS,
    SCALES,
    scene_statistics,
    statistics_of,
)

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)
SMOOTH = np.asarray(Image.fromarray(NOISE[:8, :8]).resize((64, 64), Image.Resampling.BICUBIC))
CONTRAST = 9 + 3
"""Place of the local contrast on the finest scale."""
GRADIENT = 9 + 16
"""Place of the mean gradient on the finest scale."""


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 9), (48, 48), (65, 33)])
@pytest.mark.parametrize("value", [0, 255, None])
def test_images_of_any_shape_have_finite_statistics(
    shape: tuple[int, int], value: int | None
) -> None:
    pixels = RNG.integers(0, 256, (*shape, 3)).astype(np.uint8)
    found = statistics_of(pixels if value is None else np.full_like(pixels, value))
    assert found.shape == (N_STATISTICS,) == (9 + 19 * SCALES,)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("side", [20, 48, 65])
def test_an_image_has_the_same_digits_whatever_it_is_stacked_with(side: int) -> None:
    stack = RNG.integers(0, 256, (7, side, side, 3)).astype(np.uint8)
    alone = np.array([statistics_of(one) for one in stack])
    np.testing.assert_array_equal(statistics_of(stack), alone)
    np.testing.assert_array_equal(statistics_of(stack[2:5]), alone[2:5])


def test_files_of_several_shapes_keep_their_rows(tmp_path: Path) -> None:
    images = [RNG.integers(0, 256, (20 + k % 3, 30, 3)).astype(np.uint8) for k in range(60)]
    paths = [tmp_path / f"{k}.png" for k in range(60)]
    for path, pixels in zip(paths, images, strict=True):
        Image.fromarray(pixels).save(path)
    expected = np.array([statistics_of(pixels) for pixels in images])
    np.testing.assert_array_equal(scene_statistics(paths, None), expected)


def test_colour_is_plain_moments() -> None:
    rgb = NOISE / 255
    luma = rgb @ [0.299, 0.587, 0.114]
    saturation = rgb.max(-1) - rgb.min(-1)
    found = statistics_of(NOISE)
    assert found[:2] == pytest.approx([luma.mean(), luma.std()], rel=1e-4)
    assert found[6:8] == pytest.approx([saturation.mean(), saturation.std()], rel=1e-4)
    assert found[8] == pytest.approx((np.abs(luma - 0.5) > 0.48).mean(), abs=1e-3)


def test_gradients_are_mean_and_spread_of_neighbours_differences() -> None:
    luma = (NOISE / 255) @ [0.299, 0.587, 0.114]
    size = np.hypot(np.diff(luma, axis=0)[:, :-1], np.diff(luma, axis=1)[:-1])
    expected = [np.log(size.mean() + 1e-4), np.log(size.std() + 1e-4)]
    assert statistics_of(NOISE)[GRADIENT : GRADIENT + 2] == pytest.approx(expected, rel=1e-3)


def test_noise_has_more_local_contrast_and_gradient_than_a_smooth_image() -> None:
    for place in (CONTRAST, GRADIENT):
        assert statistics_of(NOISE)[place] > statistics_of(SMOOTH)[place] + 1


def test_neighbours_of_noise_are_unrelated_and_those_of_a_smooth_image_are_not() -> None:
    beside_and_below = [CONTRAST + 1, CONTRAST + 4]
    # the window's mean is taken off, which leaves neighbours in noise slightly opposed
    assert (statistics_of(NOISE)[beside_and_below] < 0).all()
    assert (statistics_of(SMOOTH)[beside_and_below] > 0.04).all()


def test_turning_an_image_over_changes_only_what_has_a_direction() -> None:
    same = [k for k in range(N_STATISTICS) if k < 9 or (k - 9) % 19 < 4]
    np.testing.assert_allclose(
        statistics_of(NOISE[::-1])[same], statistics_of(NOISE)[same], rtol=1e-3, atol=1e-4
    )


def test_a_large_image_is_read_in_its_middle(tmp_path: Path) -> None:
    side = LARGEST + 100
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[50:-50, 50:-50] = RNG.integers(0, 256, (LARGEST, LARGEST, 3))
    Image.fromarray(pixels).save(tmp_path / "large.png")
    (found,) = scene_statistics([tmp_path / "large.png"], None)
    np.testing.assert_array_equal(found, statistics_of(pixels[50:-50, 50:-50]))


def test_they_are_kept_by_content_and_computed_again_when_a_file_changes(tmp_path: Path) -> None:
    path, told = tmp_path / "a.png", []
    Image.fromarray(NOISE).save(path)
    first = scene_statistics([path], tmp_path)
    (kept,) = (tmp_path / "scenes").glob("*.npy")
    written = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(scene_statistics([path], tmp_path), first)
    assert kept.stat().st_mtime_ns == written
    Image.fromarray(SMOOTH).save(path)
    changed = scene_statistics([path] * 100, tmp_path, told.append)
    np.testing.assert_array_equal(changed[0], statistics_of(SMOOTH))
    assert told == ["scene statistics of 100 of 100 images"]


def test_a_damaged_file_is_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(NOISE).save(path)
    first = scene_statistics([path], tmp_path)
    (kept,) = (tmp_path / "scenes").glob("*.npy")
    kept.write_bytes(kept.read_bytes()[:-8])
    np.testing.assert_array_equal(scene_statistics([path], tmp_path), first)


def test_a_file_that_is_no_image_is_named_with_its_row(tmp_path: Path) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    with pytest.raises(UserError, match=r"b\.png \(data row 2\) cannot be read as an image"):
        scene_statistics([tmp_path / "a.png", tmp_path / "b.png"], tmp_path)
