"""The frozen prefix, computed once: tokens at a block boundary, or embeddings, kept on disk.

Files are content-addressed by the backbone's weights, the inputs, the boundary and the precision,
written to a temporary name and renamed. Of several processes that miss the same file one computes
it and the others wait; a file that does not match the hash in its note is computed again.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qa_core.backbone import Backbone, ImageTower, TextTower
from qa_core.config import CachePrecision
from qa_core.data.image_store import take_room
from qa_core.locking import waiting_lock

ACTIVATIONS_VERSION = 2
EMBEDDING = "embedding"
Boundary = int | str
"""k: tokens after the stem and k blocks; `EMBEDDING`: normalised embeddings."""

Progress = Callable[[str], None]

_BATCH = 64


@dataclass(frozen=True)
class TowerInputs:
    """What enters a tower, and how.

    Attributes:
        name: What it is, in words.
        sha256: Hash of the backbone and the inputs.
        size: Number of rows.
        tower: The pretrained tower.
        stem: Tokens (batch, length, width) of some rows.
        embed: Embeddings (batch, embed_dim) of some rows, of their tokens after so many blocks.
    """

    name: str
    sha256: str
    size: int
    tower: ImageTower | TextTower
    stem: Callable[[slice], Tensor]
    embed: Callable[[slice, Tensor, int], Tensor]


def image_inputs(backbone: Backbone, images: Any, images_sha256: str) -> TowerInputs:
    """Images as inputs: uint8 pixels (n, 3, size, size), and their hash."""

    def stem(rows: slice) -> Tensor:
        pixels = torch.from_numpy(np.array(images[rows])).to(backbone.pixel_mean.device)
        return backbone.image.stem(backbone.normalise_pixels(pixels))

    def embed(_: slice, tokens: Tensor, start: int) -> Tensor:
        return backbone.image.embed(tokens, start)

    key = f"{backbone.sha256}/{images_sha256}"
    return TowerInputs("images", key, len(images), backbone.image, stem, embed)


def text_inputs(backbone: Backbone, token_ids: Tensor, ends: Tensor) -> TowerInputs:
    """Texts as inputs: token ids (n, longest) and last positions (n,)."""
    device = backbone.pixel_mean.device

    def stem(rows: slice) -> Tensor:
        return backbone.text.stem(token_ids[rows].to(device))

    def embed(rows: slice, tokens: Tensor, start: int) -> Tensor:
        return backbone.text.embed(tokens, ends[rows].to(device), start)

    shape = repr(tuple(token_ids.shape)).encode()
    ids_sha256 = hashlib.sha256(shape + token_ids.numpy().tobytes()).hexdigest()
    key = f"{backbone.sha256}/{ids_sha256}"
    return TowerInputs("texts", key, len(token_ids), backbone.text, stem, embed)


def activations(
    inputs: TowerInputs,
    boundaries: Iterable[Boundary],
    cache_dir: Path | None,
    precision: CachePrecision = "full",
    progress: Progress | None = None,
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
    missing = [at for at, file in files.items() if not _is_intact(file)]
    if missing:
        with waiting_lock(folder / f"{_file_name(inputs, 'all', np.dtype(float))}.lock"):
            missing = [at for at in missing if not _is_intact(files[at])]
            _write(inputs, {at: files[at] for at in missing}, dtypes, progress)
    return {at: np.load(file, mmap_mode="r") for at, file in files.items()}


def stored_dtype(at: Boundary, precision: CachePrecision) -> np.dtype[Any]:
    """Type of numbers in which the activations at a boundary are kept."""
    return np.dtype(np.float16 if precision == "half" and at != EMBEDDING else np.float32)


def _file_name(inputs: TowerInputs, at: Boundary, dtype: np.dtype[Any]) -> str:
    key = f"{ACTIVATIONS_VERSION}/{inputs.sha256}/{at}/{dtype}"
    return f"{inputs.name}-{at}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"


def _is_intact(file: Path) -> bool:
    try:
        return json.loads(file.with_suffix(".json").read_text())["sha256"] == _sha256(file)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _write(
    inputs: TowerInputs,
    files: dict[Boundary, Path],
    dtypes: dict[Boundary, np.dtype[Any]],
    progress: Progress | None,
) -> None:
    """Fill files that are missing, each put in place with its note after all are complete."""
    if not files:
        return
    folder = next(iter(files.values())).parent
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        maps: dict[Boundary, np.memmap] = {}

        def new_map(at: Boundary, shape: Sequence[int]) -> np.memmap:
            path = Path(scratch) / files[at].name
            new = np.lib.format.open_memmap(path, "w+", dtypes[at], tuple(shape))
            take_room(path)
            return new

        _fill(inputs, files, maps, new_map, progress)
        for at, file in files.items():
            maps[at].flush()
            whole = Path(scratch) / file.name
            note = whole.with_suffix(".json")
            note.write_text(json.dumps({"sha256": _sha256(whole)}))
            os.replace(whole, file)
            os.replace(note, file.with_suffix(".json"))


def _fill(
    inputs: TowerInputs,
    boundaries: Iterable[Boundary],
    arrays: dict[Boundary, Any],
    new_array: Callable[[Boundary, Sequence[int]], np.ndarray],
    progress: Progress | None,
) -> None:
    wanted = set(boundaries)
    for start in range(0, inputs.size, _BATCH):
        rows = slice(start, min(start + _BATCH, inputs.size))
        for at, value in _values(inputs, rows, wanted).items():
            if at not in arrays:
                arrays[at] = new_array(at, (inputs.size, *value.shape[1:]))
            arrays[at][rows] = value.float().cpu().numpy()
        if progress is not None:
            progress(f"frozen activations: {rows.stop} of {inputs.size} {inputs.name}")


@torch.inference_mode()
def _values(inputs: TowerInputs, rows: slice, boundaries: set[Boundary]) -> dict[Boundary, Tensor]:
    """Activations of some rows at each boundary, by one pass up to the highest."""
    tower, tokens = inputs.tower, inputs.stem(rows)
    below_embedding = tower.depth - 1 if EMBEDDING in boundaries else 0
    highest = max(below_embedding, *(int(at) for at in boundaries if at != EMBEDDING), 0)
    found: dict[Boundary, Tensor] = {}
    for depth in range(highest + 1):
        tokens = tower.run_blocks(tokens, depth - 1, depth) if depth else tokens
        if depth in boundaries:
            found[depth] = tokens
        if depth == tower.depth - 1 and EMBEDDING in boundaries:
            found[EMBEDDING] = inputs.embed(rows, tokens, depth)
    return found
