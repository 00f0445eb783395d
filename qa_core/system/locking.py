"""File locks between processes of one machine; the system releases them however a process ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from qa_core.errors import UserError


@contextlib.contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold the lock of this file, waiting for whoever holds it."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def sole_owner(path: Path, owner: str) -> Iterator[None]:
    """Hold the lock of this file or refuse at once, naming the holder.

    Args:
        path: The lock file; created where missing, and left.
        owner: What holds it, in words, for the message of a second one.

    Raises:
        UserError: Another process holds it.
    """
    with path.open("a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"{file.read().decode() or 'Another process'} is at work in {path.parent}."
                " Wait for it to end, or choose another folder with OUT=."
            ) from None
        with contextlib.suppress(OSError):  # on a full disk the lock holds, only without a name
            file.truncate(0)
            file.write(f"{owner} (process {os.getpid()})".encode())
        yield
