"""What the pixels alone say of an image: statistics of natural scenes, computed once and kept.

Photographs have regular local statistics, and distortions change them; blind quality measures have
long rested on that (Mittal, Moorthy and Bovik, BRISQUE, IEEE TIP 2012, sections III and IV). Here
they are moments instead of fitted distributions, on three scales, with gradients and colour beside
them. No network reads the image: a ridge on them is what CLIP has to beat.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from qa_core.data.decode import UnreadableImage, decode_native
from qa_core.data.image_store import PROGRESS_STEP, images_sha256, unreadable
from qa_core.system.files import is_intact, noted_whole

SCENE_VERSION = 1
"""Raised when a statistic changes, so that older files are not read."""

LARGEST = 1024
"""Of a larger image the middle so many pixels along each side are read, at native resolution."""
SCALES = 3
SMALLEST = 8 * 2 ** (SCALES - 1)
"""A smaller side is continued by its last pixel, so that eight are left on the coarsest scale."""
N_STATISTICS = 9 + SCALES * 19

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_SIGMA = 7 / 6
"""Width of the window of local means, in pixels (Mittal et al., eq. 1 to 3)."""
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
_TINY = 1e-6

Plane = NDArray[np.floating]


def scene_statistics(
    paths: Sequence[Path], cache_dir: Path | None, progress: Callable[[str], None] | None = None
) -> NDArray[np.float32]:
    """Statistics (n, N_STATISTICS) of image files, kept in `cache_dir` by the files' contents.

    Raises:
        UserError: A file cannot be read, with its row.
    """
    if cache_dir is None:
        return _compute(paths, progress)
    key = hashlib.sha256(f"{SCENE_VERSION} {images_sha256(paths)}".encode()).hexdigest()[:32]
    file = cache_dir / "scenes" / f"{key}.npy"
    if not is_intact(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with noted_whole(file) as partial, partial.open("wb") as stream:
            np.save(stream, _compute(paths, progress))
    return np.load(file)


def _compute(paths: Sequence[Path], progress: Callable[[str], None] | None) -> NDArray[np.float32]:
    found = np.empty((len(paths), N_STATISTICS), np.float32)

    def fill(row: int) -> None:
        try:
            found[row] = statistics_of(decode_native(paths[row], LARGEST))
        except UnreadableImage as error:
            raise unreadable(paths[row], row, error) from error

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for row, _ in enumerate(pool.map(fill, range(len(paths)))):
            if progress is not None and (row + 1) % PROGRESS_STEP == 0:
                progress(f"scene statistics of {row + 1} of {len(paths)} images")
    return found


def statistics_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Statistics (N_STATISTICS,) of one image (height, width, 3) in [0, 255]."""
    missing = [(0, max(0, SMALLEST - side)) for side in pixels.shape[:2]]
    rgb = np.pad(pixels, [*missing, (0, 0)], mode="edge").astype(np.float32) / 255
    luma: Plane = rgb @ _LUMA
    found = _colour(rgb, luma)
    for scale in range(SCALES):
        luma = _halved(luma) if scale else luma
        found += [*_local(luma), *_gradients(luma)]
    return np.array(found, np.float32)


def _colour(rgb: NDArray[np.floating], luma: Plane) -> list[float]:
    """Mean and SD of luminance, opponent colours and saturation; share of clipped pixels."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    planes = (luma, red - green, (red + green) / 2 - blue, rgb.max(-1) - rgb.min(-1))
    spread = [float(value) for plane in planes for value in (plane.mean(), plane.std())]
    return [*spread, float((np.abs(luma - 0.5) > 0.48).mean())]


def _local(luma: Plane) -> list[float]:
    """Locally normalised luminance: its shape, the local contrast, and products of neighbours."""
    mean = gaussian_filter(luma, _SIGMA, truncate=3)
    contrast = np.sqrt(np.maximum(gaussian_filter(luma**2, _SIGMA, truncate=3) - mean**2, 0))
    normal = (luma - mean) / (contrast + 1 / 255)
    spread = normal.std() + _TINY
    shape = (normal - normal.mean()) / spread
    found = [
        np.log(spread),
        np.abs(shape).mean(),
        (shape**3).mean(),
        np.log(contrast.mean() + 1e-4),
    ]
    height, width = normal.shape
    for down, right in _NEIGHBOURS:
        from_left, to_left = max(0, -right), max(0, right)
        product = (
            normal[: height - down, from_left : width - to_left]
            * normal[down:, to_left : width - from_left]
        )
        above, below = np.maximum(product, 0), np.minimum(product, 0)
        found += [product.mean(), *(np.log((half**2).mean() + _TINY) for half in (above, below))]
    return [float(value) for value in found]


def _gradients(luma: Plane) -> list[float]:
    """Mean and spread of the size of the gradient, in logarithms, and how peaked it is."""
    corner = luma[:-1, :-1]
    size = np.hypot(luma[1:, :-1] - corner, luma[:-1, 1:] - corner)
    spread = size.std()
    peaked = np.abs(size - size.mean()).mean() / (spread + _TINY)
    return [float(np.log(size.mean() + 1e-4)), float(np.log(spread + 1e-4)), float(peaked)]


def _halved(luma: Plane) -> Plane:
    height, width = (side // 2 * 2 for side in luma.shape)
    whole = luma[:height, :width]
    return (whole[::2, ::2] + whole[1::2, ::2] + whole[::2, 1::2] + whole[1::2, 1::2]) / 4
