"""The store of decoded images: right pixels, found again, rebuilt when damaged."""

from pathlib import Path

import numpy as np
import pytest
from conftest import write_table
from PIL import Image

from qa_core.config import run_config_from_flat
from qa_core.data import image_store
from qa_core.data.decode import decode_image
from qa_core.data.image_store import ImagesOnDemand, images_sha256, open_image_store
from qa_core.errors import UserError
from qa_core.features.workspace import Workspace


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    rng = np.random.default_rng(0)
    shapes = [(16, 16, 3), (30, 20, 3), (8, 40, 3), (9, 9)]
    return [
        save(tmp_path / "in" / f"{k}.png", rng.integers(0, 256, shape, dtype=np.uint8))
        for k, shape in enumerate(shapes)
    ]


def stores(cache: Path) -> list[Path]:
    return sorted((cache / "images").glob("*.u8"))


def test_rows_are_the_images_and_cannot_be_written(paths, tmp_path):
    store = open_image_store(paths, 16, tmp_path / "cache")
    assert store.shape == (4, 3, 16, 16)
    assert store.dtype == np.uint8
    for row, path in enumerate(paths):
        np.testing.assert_array_equal(store[row], decode_image(path, 16))
    with pytest.raises(ValueError, match="read-only"):
        store[0] = 0


def test_images_on_demand_read_like_the_store(paths, tmp_path):
    store, on_demand = open_image_store(paths, 16, tmp_path / "cache"), ImagesOnDemand(paths, 16)
    assert len(on_demand) == len(store) and on_demand.shape == store.shape
    for rows in (slice(1, 3), np.array([3, 0, 3])):
        np.testing.assert_array_equal(on_demand[rows], store[rows])
    paths[2].write_bytes(b"no image")
    with pytest.raises(UserError, match="data row 3"):
        on_demand[np.array([2])]


def test_an_image_of_the_right_size_keeps_its_pixels(paths):
    expected = np.asarray(Image.open(paths[0])).transpose(2, 0, 1)
    np.testing.assert_array_equal(decode_image(paths[0], 16), expected)


def test_the_whole_image_is_resized_with_antialiasing(tmp_path):
    stripes = np.zeros((64, 128, 3), dtype=np.uint8)
    stripes[:, ::2] = 255  # of one pixel: without antialiasing they would alias to 0 or 255
    inside = decode_image(save(tmp_path / "stripes.png", stripes), 16)[:, 2:-2, 2:-2]
    assert 120 <= inside.min() and inside.max() <= 136

    halves = np.zeros((10, 40, 3), dtype=np.uint8)
    halves[:, 20:] = (0, 0, 200)
    small = decode_image(save(tmp_path / "halves.png", halves), 8)
    assert small[2, :, 0].max() == 0 and small[2, :, -1].min() == 200  # both ends are there


def test_exif_orientation_is_applied(tmp_path):
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[0] = 255  # top row white
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying; to be turned a quarter clockwise
    turned = decode_image(save(tmp_path / "turned.png", pixels, exif=exif), 8)
    assert (turned[:, :, -1] == 255).all() and turned[:, :, :-1].max() == 0


def test_alpha_is_laid_over_white(tmp_path):
    pixels = np.zeros((4, 4, 4), dtype=np.uint8)
    pixels[0, 0] = (200, 0, 0, 255)
    decoded = decode_image(save(tmp_path / "alpha.png", pixels), 4)
    assert decoded[:, 0, 0].tolist() == [200, 0, 0]
    assert (decoded[:, 1:, 1:] == 255).all()

    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30])
    palette.save(tmp_path / "palette.png", transparency=0)
    assert (decode_image(tmp_path / "palette.png", 4) == 255).all()


def test_grey_of_8_and_16_bits_and_cmyk(tmp_path):
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
    for path in (
        save(tmp_path / "grey8.png", grey),
        save(tmp_path / "grey16.png", grey.astype(np.uint16) << 8),
    ):
        np.testing.assert_array_equal(decode_image(path, 4), np.stack([grey] * 3))
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")
    assert decode_image(tmp_path / "cmyk.tif", 4)[:, 0, 0].tolist() == [255, 0, 0]


def test_the_store_is_found_again_by_contents(paths, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = open_image_store(paths, 16, cache)
    moved = [path.rename(path.with_stem(f"other-{path.stem}")) for path in paths]
    with monkeypatch.context() as patch:
        patch.setattr(image_store, "decode_image", None)  # decoding again would fail
        np.testing.assert_array_equal(open_image_store(moved, 16, cache), first)

    open_image_store(moved[::-1], 16, cache)
    open_image_store(moved, 8, cache)
    save(moved[0], np.zeros((16, 16, 3), dtype=np.uint8))
    assert open_image_store(moved, 16, cache)[0].max() == 0
    assert len(stores(cache)) == 4


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no note", "broken note"])
def test_a_damaged_store_is_rebuilt(paths, tmp_path, damage):
    cache = tmp_path / "cache"
    whole = np.array(open_image_store(paths, 16, cache))
    (data,) = stores(cache)
    raw = bytearray(data.read_bytes())
    if damage == "truncated":
        data.write_bytes(raw[:-1])
    elif damage == "flipped":
        raw[100] ^= 1
        data.write_bytes(raw)
    elif damage == "no note":
        data.with_suffix(".json").unlink()
    else:
        data.with_suffix(".json").write_text("[]")
    np.testing.assert_array_equal(open_image_store(paths, 16, cache), whole)
    assert data.read_bytes() == whole.tobytes()


def test_an_unreadable_image_is_named_and_leaves_nothing_behind(paths, tmp_path):
    cache = tmp_path / "cache"
    paths[2].write_bytes(paths[2].read_bytes()[:60])
    with pytest.raises(UserError, match=r"2\.png \(data row 3\) cannot be read as an image"):
        open_image_store(paths, 16, cache)
    paths[1].write_text("no image")
    with pytest.raises(UserError, match=r"1\.png \(data row 2\)"):
        open_image_store(paths, 16, cache)
    assert list((cache / "images").iterdir()) == []
    paths[1].unlink()
    with pytest.raises(UserError, match=r"1\.png \(data row 2\)"):
        open_image_store(paths, 16, cache)
    with pytest.raises(UserError, match="no images"):
        open_image_store([], 16, cache)


def test_progress_ends_with_the_last_image(paths, tmp_path):
    lines: list[str] = []
    open_image_store(paths, 16, tmp_path / "cache", progress=lines.append)
    assert lines == ["decoded 4 of 4 images"]
    open_image_store(paths, 16, tmp_path / "cache", progress=lines.append)
    assert len(lines) == 1


def _sum(paths: list[Path], cache: Path, queue) -> None:
    queue.put(int(open_image_store(paths, 16, cache, workers=1).sum(dtype=np.int64)))


def test_processes_may_open_it_at_once(processes, paths, tmp_path):
    cache = tmp_path / "cache"
    queue = processes.Queue()
    openers = [processes.Process(target=_sum, args=(paths, cache, queue)) for _ in range(2)]
    for opener in openers:
        opener.start()
    sums = {queue.get(timeout=60) for _ in openers}
    for opener in openers:
        opener.join()
    assert sums == {int(sum(decode_image(path, 16).sum(dtype=np.int64) for path in paths))}
    assert len(list((cache / "images").iterdir())) == 2  # no temporary file is left


def test_hash_follows_contents_and_order(paths):
    assert images_sha256(paths) == images_sha256(list(paths))
    assert images_sha256(paths) != images_sha256(paths[::-1])
    assert images_sha256(paths[:2]) != images_sha256(paths[:1])


def test_a_smoke_run_decodes_the_images_of_its_prompts_alone(tmp_path: Path) -> None:
    table = write_table(tmp_path, prompts=6)
    config = run_config_from_flat({"data_csv_path": str(table), "mos_range_q": (1.0, 5.0)})
    whole = Workspace.open(config, tmp_path / "cache")
    for path in tmp_path.glob("p05_*.png"):
        path.write_bytes(b"no image")
    some = Workspace.open(config, tmp_path / "elsewhere", max_prompts=4)
    assert some.table.frame["name"].tolist() == whole.table.frame["name"].tolist()[:8]
    np.testing.assert_array_equal(some.images[:], whole.images[:8])
