"""Finding the images of a table: in which folder, and under which name on disk."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

import pandas as pd

from qa_core.data.findings import RowProblems, clipped, listed
from qa_core.errors import UserError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"}
)
_NAMES_TRIED = 20


def find_table(root: Path, *names: str) -> Path:
    """The first of these files that lies in a data set's folder or anywhere below it.

    Raises:
        UserError: If none does.
    """
    found = find_file(root, *names)
    if found is None:
        raise UserError(f"{root} holds no {' or '.join(names)}; give the data set's own folder.")
    return found


def find_file(root: Path, *names: str) -> Path | None:
    """As `find_table`, or None.

    Raises:
        UserError: If there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"{root}: there is no such folder.")
    folders = list(folders_below(root))
    places = (folder / name for name in names for folder in folders)
    return next((place for place in places if place.is_file()), None)


def find_images(root: Path, names: Sequence[str]) -> Path:
    """The folder, `root` or one below it, that holds an image of a table (the first few are tried).

    Raises:
        UserError: If none does.
    """
    disk = Disk()
    for folder in folders_below(root):
        if disk.holds_any(folder, names):
            return folder
    raise UserError(
        f"{root}: no folder in it holds {clipped(names[0])}, the first image of the table; unpack "
        "the images there or name their folder."
    )


def image_folder(
    root: Path, image_dir: Path | None, names: Sequence[str], require_images: bool
) -> Path:
    """Where a published set's images lie: as named, or found below its root where they are needed.

    Raises:
        UserError: They are needed and not found.
    """
    if image_dir is not None:
        return image_dir
    return find_images(root, names) if require_images else root


def find_own_images(folder: Path, names: Sequence[str]) -> Path:
    """The folder, or the one of those directly in it, that holds an image of a table.

    Raises:
        UserError: If none does; it says where was looked.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such image folder.")
    named = [name for name in names if _stays_inside(name)]
    disk = Disk()
    if not named or any(disk.names(folder, name) for name in named):
        return folder
    inner = _folders_in(folder)
    for place in inner:
        if disk.holds_any(place, named):
            return place
    looked = f" and {listed([place.name for place in inner])} in it" if inner else ""
    raise UserError(
        f"No image of the table ({listed(names, 2)}) is in {folder}{looked}; name their folder by"
        " IMAGES= (--images), or mend the names."
    )


class Disk:
    """Files by folder, each folder listed once."""

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def names(self, folder: Path, name: str) -> list[str]:
        """The file of this name in a folder; or, where it is not there, those that can be meant."""
        plain = name.replace("\\", "/")
        if os.path.isfile(folder / plain):  # False for any name
            return [plain]
        place = PurePath(plain)
        inside = self._in(folder / place.parent)
        wanted = _folded(place.name)
        stem = PurePath(wanted).stem if _is_image(wanted) else wanted
        found = inside.get(wanted) or inside.get(f"{stem}/") or []
        return [str(place.parent / one) for one in found]

    def holds_any(self, folder: Path, names: Sequence[str]) -> bool:
        """Whether one of the first few names is in a folder."""
        return any(self.names(folder, n) for n in names[:_NAMES_TRIED] if _stays_inside(n))

    def _in(self, folder: Path) -> dict[str, list[str]]:
        """Files by their name in small letters, images by their stem and a slash too."""
        if folder not in self._listed:
            listed = self._listed[folder] = {}
            for name in _files_in(folder):
                plain = _folded(name)
                keys = [plain, f"{PurePath(plain).stem}/"] if _is_image(plain) else [plain]
                for key in keys:
                    listed.setdefault(key, []).append(name)
        return self._listed[folder]


def folders_below(root: Path) -> Iterator[Path]:
    """The folder and all below it, the nearest first; links are followed, each place once."""
    seen, level = {os.path.realpath(root)}, [root]
    while level:
        yield from level
        below: list[Path] = []
        for folder in level:
            for inside in _folders_in(folder):
                place = os.path.realpath(inside)
                if place not in seen:
                    seen.add(place)
                    below.append(inside)
        level = below


def _folders_in(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry) for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return []


def locate_images(
    cells: pd.DataFrame, problems: RowProblems, image_dir: Path, require_images: bool = True
) -> tuple[list[str], list[str]]:
    """Absolute paths of the images, and sentences on names that differ on disk.

    Where the table has a column `file`, it says where an image lies; else its name does. Names that
    leave the folder or lack a file are noted. A file is also found under another case of its name
    or another ending of images, where there is one such. The folder may be a link and hold folders
    that are, but an image that is itself a link must not lead out of the folders it is in.

    Raises:
        UserError: If there is no such folder.
    """
    folder = image_dir.resolve()
    if require_images and not folder.is_dir():
        raise UserError(f"{image_dir}: there is no such image folder.")
    files = cells["file"] if "file" in cells.columns else cells["name"]
    paths: list[str] = []
    renamed: list[str] = []
    disk = Disk()
    for place, name in enumerate(files):
        found = [name.replace("\\", "/")]
        if not _stays_inside(name):
            problems.add(
                place,
                "names leave the image folder",
                f"image path {clipped(name)} leaves the image folder; names must be relative to"
                " it.",
                named=False,
            )
        elif require_images:
            found = disk.names(folder, name)
            _note_faults(place, name, found, problems, image_dir, folder)
            if len(found) == 1 and found[0] != name.replace("\\", "/"):
                renamed.append(f"{clipped(name)} as {clipped(found[0])}")
        paths.append(str(folder / found[0]) if found else "")
    return paths, _renamed_words(renamed)


def _renamed_words(renamed: list[str]) -> list[str]:
    """A note on images whose name differs on disk, if there are any."""
    if not renamed:
        return []
    count = f"{len(renamed)} images have" if len(renamed) > 1 else "1 image has"
    return [f"{count} another case or ending on disk than in the table: {renamed[0]}."]


def _note_faults(
    place: int, name: str, found: list[str], problems: RowProblems, image_dir: Path, folder: Path
) -> None:
    if not found:
        text = f"image {clipped(name)} is not in {image_dir}."
        problems.add(place, "images are not there", text, named=False)
    elif len(found) > 1:
        text = f"image {clipped(name)} is not in {image_dir}, but {listed(found)} are: name one."
        problems.add(place, "images have several files", text, named=False)
    elif not _is_confined(folder / found[0], folder):
        text = (
            f"image {clipped(name)} is a link that leaves the image folder; copy the file into it."
        )
        problems.add(place, "images are links that lead out", text, named=False)


def _stays_inside(name: str) -> bool:
    parts = PurePath(name.replace("\\", "/"))
    return not parts.is_absolute() and ".." not in parts.parts


def _is_confined(file: Path, folder: Path) -> bool:
    real = Path(os.path.realpath(file))
    return real.is_relative_to(folder) or real.is_relative_to(os.path.realpath(file.parent))


def _folded(name: str) -> str:
    """A name in small letters, its accents composed: some systems keep them as signs apart."""
    return unicodedata.normalize("NFC", name).casefold()


def _is_image(name: str) -> bool:
    return PurePath(name).suffix.casefold() in IMAGE_SUFFIXES


def _files_in(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return []
