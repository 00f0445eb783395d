"""Work on all cores gives what one core gives, also where processes can share nothing."""

import errno
import os

import pytest

from reports.figures.cores import on_all_cores


def test_results_come_in_order() -> None:
    assert on_all_cores(lambda item: item**2, range(20)) == [n**2 for n in range(20)]


def test_without_shared_memory_one_core_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("_multiprocessing.SemLock", refuse)  # as beside a read-only /dev/shm
    assert on_all_cores(lambda item: os.getpid(), range(3)) == [os.getpid()] * 3
