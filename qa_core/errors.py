"""Errors that a user can mend, and sentences for failures of disk, memory, network or database."""

import errno
import os
import unicodedata

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_ROOM = "free some room, or choose another folder. What was written before stays."
_NO_MEMORY = (
    "The memory does not suffice: take a smaller --batch_size or backbone, freeze more, or lower"
    " --cache_gb."
)
_IN_STORES = {
    "database or disk is full": f"No space is left for the MLflow store: {_NO_ROOM}",
    "readonly database": "The MLflow store may not be written: mend its permissions, or choose"
    " another folder.",
    "database is locked": "Another process holds the MLflow store: wait for it to end.",
}
"""Messages of SQLite inside errors of SQLAlchemy, MLflow and Optuna, and our sentence for each."""
_OF_SERVERS = {
    "mlflow.exceptions.MlflowException",
    "google.protobuf.json_format.ParseError",
    "requests.exceptions.RequestException",
}
"""What MLflow's client raises where a server refuses, fails, or answers something else."""
_LONGEST_ANSWER = 300


class UserError(Exception):
    """One or two sentences that say what is wrong, where, and what to do.

    Command lines print the message without a traceback and exit with status 2.
    """


def visible(text: str) -> str:
    """Text for a terminal: control characters of names and prompts written out (ESC as its code).

    Raw, they would move its cursor, change its title, or turn the direction of what follows.
    """
    return "".join(
        char if char in "\n\t" or not _commands(char) else ascii(char)[1:-1] for char in text
    )


def _commands(char: str) -> bool:
    bidirectional = "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069"
    return bidirectional or unicodedata.category(char) == "Cc"


def in_words(error: BaseException) -> str | None:
    """One or two sentences on an error of the user or the machine; None for a bug."""
    words = _in_words(error)
    return None if words is None else visible(words)


def _in_words(error: BaseException) -> str | None:
    if isinstance(error, UserError):
        return str(error)
    text = str(error)
    if isinstance(error, ImportError) and "failed to map segment" in text:  # of a library
        return _NO_MEMORY
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return _NO_MEMORY
    if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in text:
        return _NO_MEMORY
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return _NO_MEMORY
    if isinstance(error, OSError) and error.errno is not None:
        return _in_files(error)
    if words := next((words for sign, words in _IN_STORES.items() if sign in text), None):
        return words
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    if kinds & _OF_SERVERS:
        said = " ".join(text.split())
        short = said if len(said) <= _LONGEST_ANSWER else f"{said[:_LONGEST_ANSWER]}…"
        return f"The MLflow store or server gives no answer that can be used: {short}"
    return None


def _in_files(error: OSError) -> str:
    assert error.errno is not None
    place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    reason = os.strerror(error.errno)
    if error.errno in _FULL:
        return f"{place}{reason}: {_NO_ROOM}"
    if error.errno in _FORBIDDEN:
        return f"{place}{reason}: mend its permissions, or choose another place."
    return f"{place}{reason}: is the path right?"


def last_line(traceback: str) -> str:
    """The last line of a traceback: the error itself."""
    lines = traceback.strip().splitlines()
    return lines[-1] if lines else ""
