"""Writing files whole or not at all, with a note of the digest by which damage is detected."""

import contextlib
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """A temporary name to write to, renamed to `file` if the block succeeds, removed otherwise."""
    # A new name beside it: tempfile's files could not be read by others who share a cache.
    partial = file.with_name(f"{file.stem}-{uuid.uuid4().hex}.part")
    try:
        yield partial
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def written_together(folder: Path) -> Iterator[Path]:
    """A temporary folder; what lies in it moves to `folder` if the block succeeds.

    So of many files either none is replaced or all are, each in one step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as name:
        yield Path(name)
        for file in sorted(Path(name).rglob("*")):
            there = folder / file.relative_to(name)
            if file.is_dir():
                there.mkdir(exist_ok=True)
            else:
                os.replace(file, there)


@contextlib.contextmanager
def noted_whole(file: Path) -> Iterator[Path]:
    """As `written_whole`, then a note of the digest, by which `is_intact` knows the file."""
    with written_whole(file) as partial:
        yield partial
        digest = file_sha256(partial)
    with written_whole(_note_of(file)) as note:
        note.write_text(json.dumps({"sha256": digest}))


def is_intact(file: Path) -> bool:
    """Whether a file is there as `noted_whole` left it."""
    try:
        return json_of(_note_of(file))["sha256"] == file_sha256(file)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def json_of(file: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged, or deeper than can be walked.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("lists or objects lie too deep in each other") from error


def file_sha256(file: Path) -> str:
    """Hash of a file's contents."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def take_room(file: Path) -> None:
    """Reserve the disk space of a new memory map.

    Raises:
        OSError: There is no room; without this, writing to the map would kill the process.
    """
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def _note_of(file: Path) -> Path:
    return file.with_suffix(".json")


def sqlite_address(file: Path) -> str:
    """Address of an sqlite file for SQLAlchemy, whatever characters its path has.

    `?`, `#` and `%` would end or change the path, so they are quoted. MLflow makes folders by the
    address as it stands, unless the address names the driver.
    """
    path = str(file.resolve())
    quoted = path.translate(str.maketrans({"%": "%25", "?": "%3F", "#": "%23"}))
    return f"sqlite:///{path}" if quoted == path else f"sqlite+pysqlite:///{quoted}"
