"""One image file as people see it: upright and RGB; and in the pictures that a run asks for.

Files may come from strangers: only formats that Pillow decodes by itself are opened (an EPS,
whatever its name, would start Ghostscript), an image that would take too much memory is refused by
its header, and any failure is reported for that file.
"""

import contextlib
import struct
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image

from qa_core.data.pictures import drawn_pixels, image_pixels
from qa_core.settings.data import ImageView

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM")
"""Formats that are opened; a file's content counts, not its name."""
SUFFIXES = frozenset(".png .jpg .jpeg .webp .bmp .tif .tiff .gif .avif".split())
"""Endings by which images are found in a folder; a file that a table names may have any other."""

MAX_MEMORY = 2_000_000_000
_PIXEL_BYTES, _ODD_PIXEL_BYTES = 16, 24
"""Most bytes that a pixel takes while decoding: RGB and grey; modes that are converted."""
_LARGE = 16_000_000
_ONE_LARGE = threading.Lock()
"""Images of more pixels are decoded one at a time, so that threads do not add their memory up."""

# Our own limit is lower, and odd metadata of good pixels is no fault to warn of.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How an image is turned upright, by its EXIF tag."""

Pixels = TypeVar("Pixels", np.ndarray, Image.Image)


class UnreadableImage(ValueError):
    """A file that gives no pixels; the message says why."""


def decode_image(
    source: Path | BinaryIO | Image.Image,
    size: int,
    view: ImageView = "whole",
    drawn: bool = False,
) -> np.ndarray:
    """One image as uint8, of `pixels_shape`: its plain pictures, or its random crops.

    Raises:
        UnreadableImage: Whatever went wrong with it.
    """
    pixels = drawn_pixels if drawn else image_pixels
    return _read(source, lambda image: pixels(upright_rgb(image), size, view))


def decode_native(source: Path | BinaryIO | Image.Image, largest: int) -> np.ndarray:
    """The middle of an image at native resolution, uint8 (height, width, 3), RGB.

    Args:
        source: The image.
        largest: Most pixels of either side.

    Raises:
        UnreadableImage: Whatever went wrong with it.
    """

    def middle(image: Image.Image) -> np.ndarray:
        image = upright_rgb(image)
        left, top = (max(0, side - largest) // 2 for side in image.size)
        return np.asarray(image)[top : top + largest, left : left + largest]

    return _read(source, middle)


def decode_small(source: Path, side: int) -> Image.Image:
    """An image as people see it, RGB, scaled down until no side is longer than `side` pixels.

    Raises:
        UnreadableImage: Whatever went wrong with it.
    """

    def small(image: Image.Image) -> Image.Image:
        image.draft("RGB", (2 * side, 2 * side))  # of a JPEG no more is decoded than is needed
        image = upright_rgb(image)
        image.thumbnail((side, side))
        return image

    return _read(source, small)


def _read(
    source: Path | BinaryIO | Image.Image, pixels_of: Callable[[Image.Image], Pixels]
) -> Pixels:
    try:
        if isinstance(source, Image.Image):
            return pixels_of(source)
        with open_image(source) as file, _one_large(file):
            return pixels_of(file)
    except UnreadableImage:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise UnreadableImage(_reason(error)) from error


def open_image(source: Path | BinaryIO) -> Image.Image:
    """An image file, of which only the header has been read.

    Raises:
        UnreadableImage: It is none, of another format, or would take too much memory.
    """
    try:
        file = Image.open(source, formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise UnreadableImage(
            f"cannot identify image file: it is damaged, or none of {', '.join(FORMATS)}"
        ) from error
    except Exception as error:
        raise UnreadableImage(_reason(error)) from error
    pixels = file.width * file.height
    takes = pixels * (_PIXEL_BYTES if file.mode in ("RGB", "L") else _ODD_PIXEL_BYTES)
    if takes > MAX_MEMORY:
        file.close()
        raise UnreadableImage(
            f"its {file.width} x {file.height} pixels may take {takes / 1e9:.1f} GB to decode, more"
            f" than {MAX_MEMORY / 1e9:g} GB; make it smaller"
        )
    return file


def count_frames(path: Path) -> int:
    """Number of frames of an animated file; 1 for any other.

    Raises:
        UnreadableImage: It cannot be told.
    """
    try:
        with open_image(path) as file:
            return int(getattr(file, "n_frames", 1))
    except UnreadableImage:
        raise
    except Exception as error:
        raise UnreadableImage(_reason(error)) from error


def _one_large(file: Image.Image) -> contextlib.AbstractContextManager[object]:
    is_large = file.width * file.height > _LARGE
    return _ONE_LARGE if is_large else contextlib.nullcontext()


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split()).rstrip(".")
    return said or type(error).__name__


def upright_rgb(image: Image.Image) -> Image.Image:
    """An image as people see it: upright by its EXIF tag, alpha laid over white."""
    image.load()
    turn = _TURNS.get(_orientation(image))
    image = image if turn is None else image.transpose(turn)
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits at 255 instead of scaling
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """The EXIF tag that says how the camera was held, 1 (upright) where there is none to read.

    Nothing else in the metadata is looked at: other tags are often of wrong types.
    """
    block = image.info.get("exif")
    with contextlib.suppress(KeyError, struct.error):
        if isinstance(block, bytes) and (found := _orientation_in(block)) is not None:
            return found
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # metadata of any kind of damage; the pixels are good
        return 1


def _orientation_in(block: bytes) -> int | None:
    """The tag in the first directory of an EXIF block, by TIFF 6.0; None where it is no number."""
    while block.startswith(b"Exif\0\0"):  # some cameras write the heading twice
        block = block[6:]
    order = {b"II": "<", b"MM": ">"}[block[:2]]
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, _ = struct.unpack_from(f"{order}HHI", block, entry)
        if tag == _ORIENTATION and kind in (3, 4):
            return int(struct.unpack_from(f"{order}{'HI'[kind - 3]}", block, entry + 8)[0])
    return None
