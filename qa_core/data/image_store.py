"""Decoded images, kept on disk by their content so that they are decoded once."""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from qa_core.config import ImageView
from qa_core.data.decode import UNREADABLE, decode_image, pixels_shape
from qa_core.errors import UserError

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
) -> np.ndarray:
    """Images as a read-only memory map of uint8 (n, [views,] 3, size, size), RGB in [0, 255].

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

    Raises:
        UserError: If there are no images, or a file cannot be read, with its row.
    """
    if not paths:
        raise UserError("There are no images to open.")
    folder = cache_dir / "images"
    version = STORE_VERSION if view == "whole" else f"{STORE_VERSION} {view}"
    key = hashlib.sha256(f"{version} {size} {images_sha256(paths)}".encode()).hexdigest()[:32]
    data_path, note_path = folder / f"{key}.u8", folder / f"{key}.json"
    shape = (len(paths), *pixels_shape(size, view))
    if not _is_intact(data_path, note_path, shape):
        folder.mkdir(parents=True, exist_ok=True)
        _build(paths, view, shape, data_path, note_path, workers, progress or (lambda line: None))
    return np.memmap(data_path, dtype=np.uint8, mode="r", shape=shape)


class ImagesOnDemand:
    """Images decoded whenever they are asked for; read like the array of `open_image_store`.

    Args:
        paths: Image files, one a row.
        size: Side of the square in pixels.
        view: Which views of each image.
    """

    def __init__(self, paths: Sequence[Path], size: int, view: ImageView = "whole"):
        self._paths: list[Path] = list(paths)
        self._view: ImageView = view
        self.shape = (len(paths), *pixels_shape(size, view))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Pixels of some rows, uint8 (rows, [views,] 3, size, size)."""
        images = np.empty((len(np.arange(len(self))[rows]), *self.shape[1:]), np.uint8)
        for place, row in enumerate(np.arange(len(self))[rows]):
            images[place] = _decode_row(self._paths[row], int(row), self.shape[-1], self._view)
        return images


def images_sha256(paths: Sequence[Path]) -> str:
    """Hash of the files' contents in this order, whatever their names.

    Raises:
        UserError: If a file cannot be read, with its row.
    """
    digest = hashlib.sha256()
    for row, path in enumerate(paths):
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise _unreadable(path, row, error) from error
    return digest.hexdigest()


def _decode_row(path: Path, row: int, size: int, view: ImageView) -> np.ndarray:
    try:
        return decode_image(path, size, view)
    except UNREADABLE as error:
        raise _unreadable(path, row, error) from error


def _build(
    paths: Sequence[Path],
    view: ImageView,
    shape: tuple[int, ...],
    data_path: Path,
    note_path: Path,
    workers: int,
    progress: Callable[[str], None],
) -> None:
    """Decode all images into a temporary file, then put it and its note in place."""
    partial = _temporary(data_path)
    try:
        _decode_into(partial, paths, view, shape, workers, progress)
        note = json.dumps({"shape": shape, "sha256": _file_sha256(partial)})
        os.replace(partial, data_path)
        partial = _temporary(note_path)
        partial.write_text(note)
        os.replace(partial, note_path)
    finally:
        partial.unlink(missing_ok=True)


def _decode_into(
    partial: Path,
    paths: Sequence[Path],
    view: ImageView,
    shape: tuple[int, ...],
    workers: int,
    progress: Callable[[str], None],
) -> None:
    store = np.memmap(partial, dtype=np.uint8, mode="w+", shape=shape)
    take_room(partial)

    def fill(row: int) -> None:
        store[row] = _decode_row(paths[row], row, shape[-1], view)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        for done, _ in enumerate(pool.map(fill, range(len(paths))), start=1):
            if done % PROGRESS_STEP == 0 or done == len(paths):
                progress(f"decoded {done} of {len(paths)} images")
    store.flush()


def take_room(file: Path) -> None:
    """Give a new memory map its blocks on disk.

    Raises:
        OSError: There is no room; without this, writing to the map would kill the process.
    """
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def _is_intact(data_path: Path, note_path: Path, shape: tuple[int, ...]) -> bool:
    try:
        note = json.loads(note_path.read_text())
        right_size = data_path.stat().st_size == int(np.prod(shape, dtype=np.int64))
        return right_size and note["sha256"] == _file_sha256(data_path)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _temporary(path: Path) -> Path:
    """A new name beside it; tempfile's files could not be read by others who share a cache."""
    return path.with_name(f"{path.stem}-{uuid.uuid4().hex}.part")


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreadable(path: Path, row: int, error: BaseException) -> UserError:
    reason = str(error).rstrip(".")
    return UserError(
        f"{path} (data row {row + 1}) cannot be read as an image: {reason}. "
        "Replace the file or take its row out of the table."
    )
