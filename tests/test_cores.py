"""Work on all cores of a machine, in forked processes."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qa_core.errors import UserError
from reports.figures.cores import on_all_cores


def test_results_come_in_order_and_work_need_not_be_picklable() -> None:
    assert on_all_cores(lambda number: number**2, range(20)) == [n**2 for n in range(20)]
    assert on_all_cores(lambda number: number, []) == []


def test_an_error_arrives_as_what_it_was() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise UserError("no such figure")
        return number

    with pytest.raises(UserError, match="no such figure"):
        on_all_cores(work, range(5))


def test_without_shared_memory_one_core_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("_multiprocessing.SemLock", refuse)  # as beside a read-only /dev/shm
    assert on_all_cores(lambda item: os.getpid(), range(3)) == [os.getpid()] * 3


SLEEPERS = """
import os, sys, time
from reports.figures.cores import on_all_cores
def work(number):
    open(f"{sys.argv[1]}/{os.getpid()}", "w")
    time.sleep(60)
on_all_cores(work, range(4))
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: nothing is forked")
def test_nobody_outlives_a_killed_process(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SLEEPERS, str(tmp_path)])
    while len(list(tmp_path.iterdir())) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    forks = [Path("/proc") / file.name for file in tmp_path.iterdir()]
    deadline = time.monotonic() + 10
    while any(fork.exists() for fork in forks) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(fork.exists() for fork in forks)
