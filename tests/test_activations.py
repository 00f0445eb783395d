"""The frozen prefix on disk: right values, one pass, found again, rebuilt when damaged."""

from collections.abc import Callable
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qa_core.backbones.backbone import Backbone, load_backbone
from qa_core.backbones.tower import EMBEDDING
from qa_core.features import activations as module
from qa_core.features.activations import activations, image_inputs, text_inputs
from qa_core.features.cache_budget import GB, boundary_bytes, plan_cache
from qa_core.settings.model import BackboneConfig

PROMPTS = ["a", "a red circle to the left of a large blue star", "two"]


@pytest.fixture(scope="module")
def narrow(narrow_models: None) -> Backbone:
    return load_backbone(BackboneConfig("narrow-3", "none")).eval()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 3, 32, 32), dtype=np.uint8)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[set[Any]]:
    """The boundaries of every pass over inputs."""
    seen: list[set[Any]] = []
    fill: Callable[..., None] = module._fill

    def counting(inputs: Any, boundaries: Any, *rest: Any) -> None:
        seen.append(set(boundaries))
        fill(inputs, boundaries, *rest)

    monkeypatch.setattr(module, "_fill", counting)
    return seen


@torch.inference_mode()
def test_every_depth_comes_from_one_pass_and_equals_the_tower(
    narrow: Backbone, images: np.ndarray, tmp_path: Path, passes: list[set[Any]]
) -> None:
    found = activations(image_inputs(narrow, images, "i"), [1, 2, EMBEDDING], tmp_path)
    assert passes == [{1, 2, EMBEDDING}]
    tokens = narrow.image.stem(narrow.normalise_pixels(torch.from_numpy(images)))
    for depth in (1, 2):
        expected = narrow.image.run_blocks(tokens, 0, depth)
        np.testing.assert_allclose(found[depth], expected, atol=1e-5)
    embedding = narrow.encode_images(torch.from_numpy(images))
    np.testing.assert_allclose(found[EMBEDDING], embedding, atol=1e-5)
    activations(image_inputs(narrow, images, "i"), [2, EMBEDDING], tmp_path)
    assert len(passes) == 1
    activations(image_inputs(narrow, images, "other"), [2], tmp_path)
    assert passes[1:] == [{2}]


@torch.inference_mode()
def test_texts_are_kept_too(narrow: Backbone, tmp_path: Path) -> None:
    ids = narrow.tokenize(PROMPTS)
    found = activations(text_inputs(narrow, ids), [2, EMBEDDING], tmp_path)
    np.testing.assert_allclose(found[EMBEDDING], narrow.encode_texts(ids), atol=1e-5)
    entered = narrow.text.embed(torch.from_numpy(np.array(found[2])), ids, 2)
    np.testing.assert_allclose(found[EMBEDDING], entered, atol=1e-5)


@pytest.mark.parametrize("damage", ["flip", "cut", "note"])
def test_a_damaged_file_is_noticed_and_rebuilt(
    narrow: Backbone, images: np.ndarray, tmp_path: Path, damage: str
) -> None:
    inputs = image_inputs(narrow, images, "i")
    whole = np.array(activations(inputs, [1], tmp_path)[1])
    [file] = (tmp_path / "activations").glob("*.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 0xFF
    if damage == "flip":
        file.write_bytes(content)
    elif damage == "cut":
        file.write_bytes(content[:-100])
    else:
        file.with_suffix(".json").unlink()
    np.testing.assert_array_equal(activations(inputs, [1], tmp_path)[1], whole)
    assert not list((tmp_path / "activations").glob("tmp*"))


def test_half_precision_takes_half_the_room_and_spares_embeddings(
    narrow: Backbone, images: np.ndarray, tmp_path: Path
) -> None:
    inputs = image_inputs(narrow, images, "i")
    full = activations(inputs, [1, EMBEDDING], tmp_path)
    half = activations(inputs, [1, EMBEDDING], tmp_path, "half")
    assert half[1].nbytes * 2 == full[1].nbytes
    np.testing.assert_allclose(half[1], full[1], rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(half[EMBEDDING], full[EMBEDDING])


def _open(cache: Path, images: np.ndarray, told: Any) -> None:
    backbone = load_backbone(BackboneConfig("qa-tiny", "none")).eval()
    activations(image_inputs(backbone, images, "i"), [1], cache, progress=told.append)


def test_processes_that_miss_the_same_file_compute_it_once(
    processes: ForkServerContext | SpawnContext, tmp_path: Path
) -> None:
    images = np.zeros((4, 3, 48, 48), np.uint8)
    with processes.Manager() as manager:
        told = manager.list()
        workers = [processes.Process(target=_open, args=(tmp_path, images, told)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0, 0]
        assert len(told) == 1


def test_the_budget_keeps_embeddings_then_the_deepest(narrow: Backbone) -> None:
    sizes = {at: boundary_bytes(narrow, at, 100, 10, 20, "full") for at in (EMBEDDING, 1, 2, 3)}
    assert sizes[1] == 4 * (100 * 5 * 16 + 10 * 20 * 16)  # 4 patches and the class token
    everything = plan_cache(narrow, 100, 10, 20, sum(sizes.values()) / GB, "full")
    assert everything.kept == {EMBEDDING, 1, 2, 3} and everything.words is None
    some = plan_cache(narrow, 100, 10, 20, (sizes[EMBEDDING] + sizes[3]) / GB, "full")
    assert some.kept == {EMBEDDING, 3} and some.left_out == (1, 2)
    assert some.words is not None and "--cache_gb" in some.words
    doubled = plan_cache(narrow, 100, 10, 20, (sizes[EMBEDDING] + sizes[3]) / GB, "half")
    assert doubled.kept == {EMBEDDING, 2, 3}


def test_digits_do_not_depend_on_the_number_of_threads(
    narrow: Backbone, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = np.concatenate([images] * 3)  # four batches
    before = torch.get_num_threads()
    found = []
    for threads, at_once in ((1, 1), (2, 4)):
        torch.set_num_threads(threads)
        monkeypatch.setattr(module, "_AT_ONCE", at_once)
        found.append(activations(image_inputs(narrow, many, "i"), [1, EMBEDDING], None))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    for at in (1, EMBEDDING):
        np.testing.assert_array_equal(found[0][at], found[1][at])
