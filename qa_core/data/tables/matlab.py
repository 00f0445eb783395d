"""Numbers of MATLAB files, read in a process of their own: some damage crashes SciPy's reader."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qa_core.errors import UserError

_LIMIT_S = 60
_MEMORY = 4 * 10**9
_MOST_VALUES = 10**7
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def read_matlab(wanted: Sequence[tuple[Path, str]]) -> list[np.ndarray]:
    """The numbers (n,) of variables of MATLAB files, each row after row.

    Args:
        wanted: File and name of each variable.

    Raises:
        UserError: A variable is not there, or its file is damaged; it names the file.
    """
    if not wanted:
        return []
    words = [str(word) for pair in wanted for word in pair]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__, *words],
            env=os.environ | _ONE_THREAD,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIMIT_S,
        )
        written, said = done.stdout, done.stderr.decode(errors="replace").strip().splitlines()
        reason = said[-1] if done.returncode > 0 and said else "its reader crashed"
    except subprocess.TimeoutExpired as late:
        written, reason = late.stdout or b"", f"it takes more than {_LIMIT_S} s"
    found, stream = [], io.BytesIO(written)
    with contextlib.suppress(ValueError, EOFError):  # the last may be cut off
        while stream.tell() < len(written):
            found.append(np.load(stream))
    if len(found) < len(wanted):
        path, key = wanted[len(found)]
        raise UserError(f"{path} cannot be read as a MATLAB file with {key!r}: {reason}.")
    return found


def _main(words: Sequence[str]) -> None:
    """Write the numbers to standard output, one array after the other."""
    from scipy.io import loadmat

    with contextlib.suppress(ImportError, ValueError):  # a system without such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    for path, key in zip(words[::2], words[1::2], strict=True):
        try:
            values = np.asarray(loadmat(path)[key], dtype=float)
            if values.size > _MOST_VALUES:
                raise ValueError(f"{values.size} numbers are too many")
        except Exception as error:  # a damaged file breaks the reader in many ways
            sys.exit(f"{type(error).__name__}: {error}")
        np.save(sys.stdout.buffer, values.ravel())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main(sys.argv[1:])
