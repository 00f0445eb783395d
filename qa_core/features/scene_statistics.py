"""What the pixels alone say of an image: statistics of natural scenes, computed once and kept.

Photographs have regular local statistics, and distortions change them; blind quality measures have
long rested on that (Mittal, Moorthy and Bovik, BRISQUE, IEEE TIP 2012, sections III and IV). Here
they are moments instead of fitted distributions, on three scales, with gradients and colour beside
them. No network reads the image: a ridge on them is what CLIP has to beat.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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
_ROWS, _PIXELS = 25, 2**18
"""Images that a thread reads at once, and pixels whose statistics are computed at once."""

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

    def read(row: int) -> NDArray[np.uint8]:
        try:
            return decode_native(paths[row], LARGEST)
        except UnreadableImage as error:
            raise unreadable(paths[row], row, error) from error

    def fill(start: int) -> int:
        images = [read(row) for row in range(start, min(start + _ROWS, len(paths)))]
        for group in _alike(images):
            found[start + np.array(group)] = statistics_of(np.stack([images[k] for k in group]))
        return start + len(images)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for done in pool.map(fill, range(0, len(paths), _ROWS)):
            if progress is not None and done % PROGRESS_STEP == 0:
                progress(f"scene statistics of {done} of {len(paths)} images")
    return found


def _alike(images: Sequence[NDArray[np.uint8]]) -> Iterator[list[int]]:
    """Places of images of one shape, no more than fit into a processor's cache."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        places.setdefault(image.shape, []).append(place)
    for (height, width, _), same in places.items():
        most = max(1, _PIXELS // (height * width))
        yield from (same[k : k + most] for k in range(0, len(same), most))


def statistics_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Statistics (..., N_STATISTICS) of images (..., height, width, 3) in [0, 255].

    Those of an image are the same to the last digit whatever it is stacked with.
    """
    missing = [(0, max(0, SMALLEST - side)) for side in pixels.shape[-3:-1]]
    kept = [(0, 0)] * (pixels.ndim - 3)
    padded = np.pad(pixels, [*kept, *missing, (0, 0)], mode="edge")
    rgb = np.moveaxis(padded, -1, 0).astype(np.float32, order="C") / 255
    luma: Plane = _LUMA[0] * rgb[0] + _LUMA[1] * rgb[1] + _LUMA[2] * rgb[2]
    found = _colour(rgb, luma)
    for scale in range(SCALES):
        luma = _halved(luma) if scale else luma
        found += [*_local(luma), *_gradients(luma)]
    return np.stack(found, -1, dtype=np.float32)


def _mean(plane: NDArray[Any]) -> NDArray[Any]:
    """Over each image (..., height, width)."""
    return plane.reshape(*plane.shape[:-2], -1).mean(-1)


def _spread(plane: Plane) -> Plane:
    """Standard deviation over each image (..., height, width)."""
    return plane.reshape(*plane.shape[:-2], -1).std(-1)


def _colour(rgb: Plane, luma: Plane) -> list[Plane]:
    """Mean and SD of luminance, opponent colours and saturation; share of clipped pixels."""
    red, green, blue = rgb
    planes = (luma, red - green, (red + green) / 2 - blue, rgb.max(0) - rgb.min(0))
    spread = [value for plane in planes for value in (_mean(plane), _spread(plane))]
    return [*spread, _mean(np.abs(luma - 0.5) > 0.48)]


def _local(luma: Plane) -> list[Plane]:
    """Locally normalised luminance: its shape, the local contrast, and products of neighbours."""
    mean = _smoothed(luma)
    contrast = np.sqrt(np.maximum(_smoothed(luma**2) - mean**2, 0))
    normal = (luma - mean) / (contrast + 1 / 255)
    spread = _spread(normal) + _TINY
    shape = (normal - _mean(normal)[..., None, None]) / spread[..., None, None]
    found = [
        np.log(spread),
        _mean(np.abs(shape)),
        _mean(shape**3),
        np.log(_mean(contrast) + 1e-4),
    ]
    height, width = normal.shape[-2:]
    for down, right in _NEIGHBOURS:
        from_left, to_left = max(0, -right), max(0, right)
        product = (
            normal[..., : height - down, from_left : width - to_left]
            * normal[..., down:, to_left : width - from_left]
        )
        above, below = np.maximum(product, 0), np.minimum(product, 0)
        found += [_mean(product), *(np.log(_mean(half**2) + _TINY) for half in (above, below))]
    return found


def _smoothed(luma: Plane) -> Plane:
    sigma = (0,) * (luma.ndim - 2) + (_SIGMA, _SIGMA)
    return gaussian_filter(luma, sigma, truncate=3)


def _gradients(luma: Plane) -> list[Plane]:
    """Mean and spread of the size of the gradient, in logarithms, and how peaked it is."""
    corner = luma[..., :-1, :-1]
    size = np.hypot(luma[..., 1:, :-1] - corner, luma[..., :-1, 1:] - corner)
    mean, spread = _mean(size), _spread(size)
    peaked = _mean(np.abs(size - mean[..., None, None])) / (spread + _TINY)
    return [np.log(mean + 1e-4), np.log(spread + 1e-4), peaked]


def _halved(luma: Plane) -> Plane:
    height, width = (side // 2 * 2 for side in luma.shape[-2:])
    whole = luma[..., :height, :width]
    above, below = whole[..., ::2, :], whole[..., 1::2, :]
    return (above[..., ::2] + below[..., ::2] + above[..., 1::2] + below[..., 1::2]) / 4
