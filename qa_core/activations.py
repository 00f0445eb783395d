"""The frozen prefix, computed once: tokens at a block boundary, or embeddings, kept on disk.

Files are content-addressed by the backbone's weights, the images and the boundary, written to a
temporary name and renamed, so that several processes may fill the same cache at once.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qa_core.backbone import Backbone

ACTIVATIONS_VERSION = 1
EMBEDDING = "embedding"
Boundary = int | str
"""k: tokens after the stem and k blocks; `EMBEDDING`: normalised embeddings."""

_BATCH = 64


def cache_file(cache_dir: Path, backbone_sha256: str, images_sha256: str, at: Boundary) -> Path:
    """Where the activations of these images by this backbone at this boundary lie."""
    key = f"{ACTIVATIONS_VERSION}/{backbone_sha256}/{images_sha256}/{at}"
    return cache_dir / "activations" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"


def image_activations(
    backbone: Backbone,
    images: np.ndarray,
    images_sha256: str,
    boundaries: Iterable[Boundary],
    cache_dir: Path,
    progress: Callable[[str], None] | None = None,
) -> dict[Boundary, np.ndarray]:
    """Read-only memory maps (n, ...) of the activations at each boundary, filled in one pass.

    Args:
        backbone: The pretrained backbone.
        images: uint8 pixels (n, 3, size, size).
        images_sha256: Hash of the pixels.
        boundaries: Which activations are asked for.
        cache_dir: The cache; safe to delete.
        progress: Told, in words, how far a pass has come.
    """
    files = {at: cache_file(cache_dir, backbone.sha256, images_sha256, at) for at in boundaries}
    missing = [at for at, file in files.items() if not _is_whole(file, len(images))]
    if missing:
        _fill(backbone, images, {at: files[at] for at in missing}, progress)
    return {at: np.load(file, mmap_mode="r") for at, file in files.items()}


def _is_whole(file: Path, rows: int) -> bool:
    try:
        return len(np.load(file, mmap_mode="r")) == rows
    except (OSError, ValueError, EOFError):
        return False


def _fill(
    backbone: Backbone,
    images: np.ndarray,
    files: dict[Boundary, Path],
    progress: Callable[[str], None] | None,
) -> None:
    folder = next(iter(files.values())).parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        maps: dict[Boundary, np.memmap] = {}
        for start in range(0, len(images), _BATCH):
            rows = slice(start, min(start + _BATCH, len(images)))
            pixels = torch.from_numpy(np.array(images[rows]))
            for at, value in _boundary_values(backbone, pixels, files.keys()):
                if at not in maps:
                    shape = (len(images), *value.shape[1:])
                    path = Path(scratch) / f"{at}.npy"
                    maps[at] = np.lib.format.open_memmap(path, "w+", np.float32, shape)
                maps[at][rows] = value.float().cpu().numpy()
            if progress is not None:
                progress(f"frozen activations: {rows.stop} of {len(images)} images")
        for at, file in files.items():
            maps[at].flush()
            os.replace(Path(scratch) / f"{at}.npy", file)


@torch.inference_mode()
def _boundary_values(
    backbone: Backbone, pixels: Tensor, boundaries: Iterable[Boundary]
) -> list[tuple[Boundary, Tensor]]:
    wanted = set(boundaries)
    tower = backbone.image
    tokens = tower.stem(backbone.normalise_pixels(pixels.to(backbone.pixel_mean.device)))
    values: list[tuple[Boundary, Tensor]] = []
    for depth in range(tower.depth + 1):
        if depth in wanted:
            values.append((depth, tokens))
        tokens = tower.run_blocks(tokens, depth, depth + 1)
    if EMBEDDING in wanted:
        values.append((EMBEDDING, tower.tail(tokens)))
    return values


@torch.inference_mode()
def text_activations(backbone: Backbone, token_ids: Tensor, ends: Tensor, at: Boundary) -> Tensor:
    """Texts at a boundary: tokens (n, length, width) or embeddings (n, embed_dim)."""
    device = backbone.pixel_mean.device
    chunks = []
    for start in range(0, len(token_ids), _BATCH):
        rows = slice(start, start + _BATCH)
        ids, last = token_ids[rows].to(device), ends[rows].to(device)
        tower = backbone.text
        stop = tower.depth if at == EMBEDDING else int(at)
        tokens = tower.run_blocks(tower.stem(ids), 0, stop)
        chunks.append(tower.tail(tokens, last) if at == EMBEDDING else tokens)
    return torch.cat(chunks).clone()
