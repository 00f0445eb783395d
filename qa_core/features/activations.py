"""Output of the frozen layers, computed once and kept on disk: tokens after a block, or embeddings.

Files are content-addressed by the backbone's weights, the inputs, the boundary and the precision,
written to a temporary name and renamed. If several processes need the same missing file, one
computes it and the others wait. A file that does not match the hash noted beside it is computed
again.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qa_core.backbones.backbone import Backbone
from qa_core.backbones.tower import EMBEDDING, Boundary
from qa_core.settings.training import CachePrecision
from qa_core.system.files import is_intact, noted_whole, take_room
from qa_core.system.locking import waiting_lock

ACTIVATIONS_VERSION = 3

ProgressListener = Callable[[str], None]
"""Told in words how far a pass over the images has come."""

_BATCH = 64
_AT_ONCE = 4
"""Batches that are computed at the same time; each holds its activations at all boundaries in
memory."""

_Values = dict[Boundary, Tensor]
_Slice = tuple[slice, _Values]


@dataclass(frozen=True)
class TowerInputs:
    """What enters a tower, and how.

    Attributes:
        name: What it is, in words.
        sha256: Hash of the backbone and the inputs.
        size: Number of rows.
        views: Pictures of a row; where there are several, activations are (n, views, ...).
        depth: Blocks of the tower.
        stem: Tokens (batch, ...) of some rows.
        block: Tokens of some rows after the block of this number.
        embed: Embeddings (batch, embed_dim) of some rows, of their tokens after so many blocks.
    """

    name: str
    sha256: str
    size: int
    views: int
    depth: int
    stem: Callable[[slice], Tensor]
    block: Callable[[slice, Tensor, int], Tensor]
    embed: Callable[[slice, Tensor, int], Tensor]


def _maker(backbone: Backbone) -> str:
    """What determines the digits beside the inputs: weights, kind of device, version of torch."""
    return f"{backbone.sha256}/{backbone.pixel_mean.device.type}/{torch.__version__}"


def image_inputs(backbone: Backbone, images: Any, images_sha256: str) -> TowerInputs:
    """Images as inputs: uint8 pixels (n, [views,] 3, size, size), and their hash."""
    tower = backbone.image

    def stem(rows: slice) -> Tensor:
        pixels = torch.from_numpy(np.array(images[rows])).to(backbone.pixel_mean.device)
        return tower.stem(backbone.normalise_pixels(pixels.flatten(0, -4)))

    def block(_: slice, tokens: Tensor, number: int) -> Tensor:
        return tower.run_blocks(tokens, number, number + 1)

    def embed(_: slice, tokens: Tensor, start: int) -> Tensor:
        return tower.embed(tokens, start)

    key, views = f"{_maker(backbone)}/{images_sha256}", count_views(images)
    return TowerInputs("images", key, len(images), views, tower.depth, stem, block, embed)


def count_views(images: Any) -> int:
    """Pictures that stand for one image in pixels (n, [views,] 3, size, size)."""
    return images.shape[1] if len(images.shape) == 5 else 1


def text_inputs(backbone: Backbone, token_ids: Tensor) -> TowerInputs:
    """Texts as inputs: token ids (n, longest)."""
    device, tower = backbone.pixel_mean.device, backbone.text

    def stem(rows: slice) -> Tensor:
        return tower.stem(token_ids[rows].to(device))

    def block(rows: slice, tokens: Tensor, number: int) -> Tensor:
        return tower.run_blocks(tokens, token_ids[rows].to(device), number, number + 1)

    def embed(rows: slice, tokens: Tensor, start: int) -> Tensor:
        return tower.embed(tokens, token_ids[rows].to(device), start)

    shape = repr(tuple(token_ids.shape)).encode()
    ids_sha256 = hashlib.sha256(shape + token_ids.numpy().tobytes()).hexdigest()
    key = f"{_maker(backbone)}/{ids_sha256}"
    return TowerInputs("texts", key, len(token_ids), 1, tower.depth, stem, block, embed)


def activations(
    inputs: TowerInputs,
    boundaries: Iterable[Boundary],
    cache_dir: Path | None,
    precision: CachePrecision = "full",
    progress: ProgressListener | None = None,
) -> dict[Boundary, np.ndarray]:
    """Activations (n, ...) at each boundary, what is missing filled in one pass.

    Args:
        inputs: What enters which tower.
        boundaries: Which activations are asked for.
        cache_dir: The cache, of which memory maps are returned; None keeps them in memory only.
        precision: In which tokens are kept; embeddings, which are small, are always kept in full.
        progress: Told, in words, how far a pass has come.
    """
    dtypes = {at: stored_dtype(at, precision) for at in boundaries}
    if cache_dir is None:
        found: dict[Boundary, np.ndarray] = {}
        _fill(inputs, dtypes, found, lambda at, shape: np.empty(shape, dtypes[at]), progress)
        return found
    folder = cache_dir / "activations"
    folder.mkdir(parents=True, exist_ok=True)
    files = {at: folder / _file_name(inputs, at, dtype) for at, dtype in dtypes.items()}
    missing = [at for at, file in files.items() if not is_intact(file)]
    if missing:
        with waiting_lock(folder / f"{_file_name(inputs, 'all', np.dtype(float))}.lock"):
            missing = [at for at in missing if not is_intact(files[at])]
            _write(inputs, {at: files[at] for at in missing}, dtypes, progress)
    return {at: np.load(file, mmap_mode="r") for at, file in files.items()}


def stored_dtype(at: Boundary, precision: CachePrecision) -> np.dtype[Any]:
    """Type of numbers in which the activations at a boundary are kept."""
    return np.dtype(np.float16 if precision == "half" and at != EMBEDDING else np.float32)


def _file_name(inputs: TowerInputs, at: Boundary, dtype: np.dtype[Any]) -> str:
    key = f"{ACTIVATIONS_VERSION}/{inputs.sha256}/{at}/{dtype}"
    return f"{inputs.name}-{at}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"


def _write(
    inputs: TowerInputs,
    files: dict[Boundary, Path],
    dtypes: dict[Boundary, np.dtype[Any]],
    progress: ProgressListener | None,
) -> None:
    """Fill files that are missing, each put in place with its note after all are complete."""
    if not files:
        return
    with contextlib.ExitStack() as all_or_none:
        partial = {at: all_or_none.enter_context(noted_whole(file)) for at, file in files.items()}
        maps: dict[Boundary, np.memmap] = {}

        def new_map(at: Boundary, shape: Sequence[int]) -> np.memmap:
            new = np.lib.format.open_memmap(partial[at], "w+", dtypes[at], tuple(shape))
            take_room(partial[at])
            return new

        _fill(inputs, files, maps, new_map, progress)
        for new in maps.values():
            new.flush()


def _fill(
    inputs: TowerInputs,
    boundaries: Iterable[Boundary],
    arrays: dict[Boundary, Any],
    new_array: Callable[[Boundary, Sequence[int]], np.ndarray],
    progress: ProgressListener | None,
) -> None:
    wanted, size = set(boundaries), max(1, _BATCH // inputs.views)
    slices = [slice(k, min(k + size, inputs.size)) for k in range(0, inputs.size, size)]
    for rows, values in _in_order(slices, lambda rows: _values(inputs, rows, wanted)):
        for at, value in values.items():
            if inputs.views > 1:
                value = value.unflatten(0, (-1, inputs.views))
            if at not in arrays:
                arrays[at] = new_array(at, (inputs.size, *value.shape[1:]))
            arrays[at][rows] = value.float().cpu().numpy()
        if progress is not None:
            progress(f"frozen activations: {rows.stop} of {inputs.size} {inputs.name}")


def _in_order(slices: list[slice], compute: Callable[[slice], _Values]) -> Iterator[_Slice]:
    """The results of all slices, in order; several are computed at once, one core each.

    A slice has one thread, so that its digits do not depend on the number of cores.
    """
    workers, before = min(_AT_ONCE, len(os.sched_getaffinity(0))), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for start in range(0, len(slices), workers):  # hold no slice in memory before its turn
                window = slices[start : start + workers]
                yield from zip(window, pool.map(compute, window), strict=True)
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def _values(inputs: TowerInputs, rows: slice, boundaries: set[Boundary]) -> _Values:
    """Activations of some rows at each boundary, by one pass up to the highest."""
    tokens = inputs.stem(rows)
    below_embedding = inputs.depth - 1 if EMBEDDING in boundaries else 0
    highest = max(below_embedding, *(int(at) for at in boundaries if at != EMBEDDING), 0)
    found: _Values = {}
    for depth in range(highest + 1):
        tokens = inputs.block(rows, tokens, depth - 1) if depth else tokens
        if depth in boundaries:
            found[depth] = tokens
        if depth == inputs.depth - 1 and EMBEDDING in boundaries:
            found[EMBEDDING] = inputs.embed(rows, tokens, depth)
    return found
