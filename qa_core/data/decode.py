"""One image file as the model sees it: upright, RGB, and in the views that a run asks for."""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from qa_core.config import ImageView

UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises on damaged or disguised files."""

# From 179 million pixels on Pillow refuses; below, a large image is no fault to warn of.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

GRID = 3
"""Windows along each side; they overlap or leave gaps as the image's size has it."""
MARGIN = (123, 117, 104)
"""The mean colour of CLIP's pretraining, which is 0 after normalisation."""


def n_views(view: ImageView) -> int:
    """How many pictures of the model's size stand for one image."""
    return 1 + GRID**2 if view == "crops" else 1


def pixels_shape(size: int, view: ImageView) -> tuple[int, ...]:
    """Shape of a decoded image: (3, size, size), or (views, 3, size, size) for several."""
    shape = (3, size, size)
    return (n_views(view), *shape) if view == "crops" else shape


def decode_image(source: Path | BinaryIO, size: int, view: ImageView = "whole") -> np.ndarray:
    """One image file as uint8, of `pixels_shape`."""
    with Image.open(source) as file:
        return image_pixels(file, size, view)


def image_pixels(image: Image.Image, size: int, view: ImageView = "whole") -> np.ndarray:
    """One image, of any mode, as uint8 of `pixels_shape`.

    `whole` resizes it to a square, `padded` into one, its aspect ratio kept; `crops` is `whole`,
    then a grid of windows from edge to edge. A window shows the model's size at native resolution,
    or half of the short side of an image that is smaller than twice the model's size.

    Args:
        image: As opened by Pillow.
        size: Side of the square in pixels.
        view: Which views.
    """
    image = upright_rgb(image)
    if view == "padded":
        image = ImageOps.pad(image, (size, size), Image.Resampling.BICUBIC, MARGIN)
    whole = _resized(image, size)
    return np.stack([whole, *_windows(image, size)]) if view == "crops" else whole


def _resized(image: Image.Image, size: int) -> np.ndarray:
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)  # (3, size, size)


def _windows(image: Image.Image, size: int) -> list[np.ndarray]:
    side = min(size, min(image.size) / 2)
    lefts, tops = (np.linspace(0, length - side, GRID) for length in image.size)
    if side == size:  # native pixels: windows start on whole ones
        lefts, tops = lefts.round(), tops.round()
    boxes = [(x, y, x + side, y + side) for y in tops.tolist() for x in lefts.tolist()]
    windows = (image.resize((size, size), Image.Resampling.BICUBIC, box) for box in boxes)
    return [np.asarray(window).transpose(2, 0, 1) for window in windows]


def upright_rgb(image: Image.Image) -> Image.Image:
    """An image as people see it: upright by its EXIF tag, alpha laid over white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits at 255 instead of scaling
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")
