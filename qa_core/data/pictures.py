"""The pictures of an image that a model sees: the views of its plain form, and random crops."""

import hashlib

import numpy as np
from PIL import Image, ImageOps

from qa_core.settings.data import ImageView
from qa_core.settings.training import N_DRAWN

GRID = 3
"""Windows along each side; they overlap or leave gaps as the image's size has it."""
MARGIN = (123, 117, 104)
"""The mean colour of CLIP's pretraining, which is 0 after normalisation."""

_LEAST_AREA, _MOST_STRETCH, _ATTEMPTS = 0.8, 4 / 3, 10


def pixels_shape(size: int, view: ImageView, drawn: bool = False) -> tuple[int, ...]:
    """Shape of a decoded image: (3, size, size), or (pictures, 3, size, size) for several."""
    shape = (3, size, size)
    if drawn:
        return (N_DRAWN, *shape)
    return (1 + GRID**2, *shape) if view == "crops" else shape


def image_pixels(image: Image.Image, size: int, view: ImageView = "whole") -> np.ndarray:
    """One image as uint8 of `pixels_shape`.

    `whole` resizes it to a square, `padded` into one, its aspect ratio kept; `crops` is `whole`,
    then a grid of windows from edge to edge. A window shows the model's size at native resolution,
    or half of the short side of an image that is smaller than twice the model's size. `centre` is
    the window in the middle alone, and `whole` for so small an image.

    Args:
        image: Upright, RGB.
        size: Side of the square in pixels.
        view: Which views.
    """
    if view == "crops":
        return np.stack([_resized(image, size), *_windows(image, size)])
    return _resized(_shown(image, size, view), size)


def drawn_pixels(image: Image.Image, size: int, view: ImageView = "whole") -> np.ndarray:
    """Random crops of what a view shows, uint8 (N_DRAWN, 3, size, size), the same at every call.

    Each shows .8 to 1 of the area, stretched by up to 4/3 (Szegedy et al., "Going Deeper with
    Convolutions", CVPR 2015, section 6, whose area starts at .08), and every other one is mirrored.

    Args:
        image: Upright, RGB.
        size: Side of the square in pixels.
        view: A view of one picture.
    """
    image = _shown(image, size, view)
    rng = np.random.default_rng(list(hashlib.sha256(image.tobytes()).digest()))
    crops = [
        image.resize((size, size), Image.Resampling.BICUBIC, _box(image.size, rng))
        for _ in range(N_DRAWN)
    ]
    mirrored = rng.permutation(N_DRAWN) % 2 == 0
    pixels = [_channels_first(crop) for crop in crops]
    return np.stack([p[:, :, ::-1] if m else p for p, m in zip(pixels, mirrored, strict=True)])


def _box(size: tuple[int, int], rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a random crop; of the whole where ten draws do not fit."""
    for _ in range(_ATTEMPTS):
        area = rng.uniform(_LEAST_AREA, 1) * size[0] * size[1]
        stretch = np.exp(rng.uniform(-1, 1) * np.log(_MOST_STRETCH))
        width, height = np.sqrt(area * stretch), np.sqrt(area / stretch)
        if width <= size[0] and height <= size[1]:
            left, top = rng.uniform(0, size[0] - width), rng.uniform(0, size[1] - height)
            return float(left), float(top), float(left + width), float(top + height)
    return 0.0, 0.0, float(size[0]), float(size[1])


def _shown(image: Image.Image, size: int, view: ImageView) -> Image.Image:
    """What a view of one picture shows, at the resolution that it has."""
    if view == "padded":
        return ImageOps.pad(image, (size, size), Image.Resampling.BICUBIC, MARGIN)
    if view == "centre" and min(image.size) >= 2 * size:
        return image.crop(_boxes(image, size)[GRID**2 // 2])
    return image


def _resized(image: Image.Image, size: int) -> np.ndarray:
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return _channels_first(image)


def _channels_first(image: Image.Image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)


def _windows(image: Image.Image, size: int) -> list[np.ndarray]:
    boxes = _boxes(image, size)
    windows = (image.resize((size, size), Image.Resampling.BICUBIC, box) for box in boxes)
    return [_channels_first(window) for window in windows]


def _boxes(image: Image.Image, size: int) -> list[tuple[float, float, float, float]]:
    """Left, top, right, bottom of the windows, row by row."""
    side = min(size, min(image.size) / 2)
    lefts, tops = (np.linspace(0, length - side, GRID) for length in image.size)
    if side == size:  # native pixels: windows start on whole ones
        lefts, tops = lefts.round(), tops.round()
    return [(x, y, x + side, y + side) for y in tops.tolist() for x in lefts.tolist()]
