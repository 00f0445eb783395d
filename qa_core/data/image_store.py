"""Decoded images, kept on disk by their content so that they are decoded once."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from qa_core.data.decode import UnreadableImage, decode_image
from qa_core.data.pictures import pixels_shape
from qa_core.errors import UserError
from qa_core.settings.data import ImageView
from qa_core.system.files import file_sha256, is_intact, noted_whole, take_room

STORE_VERSION = 1
"""Raised when decoding or resizing changes, so that older stores are not read."""

PROGRESS_STEP = 100


def open_image_store(
    paths: Sequence[Path],
    size: int,
    cache_dir: Path,
    workers: int = 2,
    progress: Callable[[str], None] | None = None,
    view: ImageView = "whole",
    drawn: bool = False,
) -> np.ndarray:
    """Images as a read-only memory map of uint8 (n, [pictures,] 3, size, size), RGB in [0, 255].

    Each image is resized (bicubic, antialiased); one of that size keeps its pixels. The store is
    found again by the files' contents and order, and a damaged one is rebuilt. Processes that open
    the same one at once write the same bytes and replace it atomically.

    Args:
        paths: Image files, one a row.
        size: Side of the square in pixels.
        cache_dir: Folder for caches; safe to delete.
        workers: Threads that decode.
        progress: Called with a line now and then while decoding.
        view: Which views of each image.
        drawn: Random crops of the view instead.

    Raises:
        UserError: If there are no images, or a file cannot be read, with its row.
    """
    if not paths:
        raise UserError("There are no images to open.")
    folder = cache_dir / "images"
    version = f"{STORE_VERSION}{'' if view == 'whole' else f' {view}'}{' drawn' * drawn}"
    key = hashlib.sha256(f"{version} {size} {images_sha256(paths)}".encode()).hexdigest()[:32]
    store = folder / f"{key}.u8"
    shape = (len(paths), *pixels_shape(size, view, drawn))
    if not is_intact(store):
        folder.mkdir(parents=True, exist_ok=True)
        with noted_whole(store) as partial:
            on_demand = ImagesOnDemand(paths, size, view, drawn)
            _decode_into(partial, on_demand, workers, progress or (lambda line: None))
    return np.memmap(store, dtype=np.uint8, mode="r", shape=shape)


class ImagesOnDemand:
    """Images decoded whenever they are asked for; read like the array of `open_image_store`.

    Args:
        paths: Image files, one a row.
        size: Side of the square in pixels.
        view: Which views of each image.
        drawn: Random crops of the view instead.
    """

    def __init__(
        self, paths: Sequence[Path], size: int, view: ImageView = "whole", drawn: bool = False
    ):
        self._paths: list[Path] = list(paths)
        self._view: ImageView = view
        self._drawn = drawn
        self.shape = (len(paths), *pixels_shape(size, view, drawn))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Pixels of some rows, uint8 (rows, [pictures,] 3, size, size)."""
        images = np.empty((len(np.arange(len(self))[rows]), *self.shape[1:]), np.uint8)
        for place, row in enumerate(np.arange(len(self))[rows].tolist()):
            images[place] = self.one(row)
        return images

    def one(self, row: int) -> np.ndarray:
        """Pixels of one row, uint8 ([pictures,] 3, size, size).

        Raises:
            UserError: It cannot be read.
        """
        path = self._paths[row]
        try:
            return decode_image(path, self.shape[-1], self._view, self._drawn)
        except UnreadableImage as error:
            raise unreadable(path, row, error) from error


def images_sha256(paths: Sequence[Path]) -> str:
    """Hash of the files' contents in this order, whatever their names.

    Raises:
        UserError: If a file cannot be read, with its row.
    """
    digest = hashlib.sha256()
    for row, path in enumerate(paths):
        try:
            digest.update(bytes.fromhex(file_sha256(path)))
        except OSError as error:
            raise unreadable(path, row, error) from error
    return digest.hexdigest()


def pixels_sha256(images: "np.ndarray | ImagesOnDemand") -> str:
    """Hash of decoded pixels (n, ...)."""
    digest = hashlib.sha256(repr(images.shape).encode())
    for start in range(0, len(images), 256):
        digest.update(images[start : start + 256].tobytes())
    return digest.hexdigest()


def _decode_into(
    partial: Path, images: ImagesOnDemand, workers: int, progress: Callable[[str], None]
) -> None:
    store = np.memmap(partial, dtype=np.uint8, mode="w+", shape=images.shape)
    take_room(partial)

    def fill(row: int) -> None:
        store[row] = images.one(row)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        for done, _ in enumerate(pool.map(fill, range(len(images))), start=1):
            if done % PROGRESS_STEP == 0 or done == len(images):
                progress(f"decoded {done} of {len(images)} images")
    store.flush()


def unreadable(path: Path, row: int, error: BaseException) -> UserError:
    """What to say of an image file that gives no pixels."""
    reason = str(error).rstrip(".")
    return UserError(
        f"{path} (data row {row + 1}) cannot be read as an image: {reason}. "
        "Replace the file or take its row out of the table."
    )
