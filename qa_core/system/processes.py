"""Processes of one machine: how many cores they keep busy, and that none outlives its parent."""

import contextlib
import math
import multiprocessing
import os
import sys
import threading
from multiprocessing.connection import wait
from pathlib import Path

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(allowed: int | None = None, quota_file: Path = _CPU_QUOTA) -> int:
    """Cores that this process may keep busy: a container's quota counts, not only its CPU set.

    Args:
        allowed: Size of the CPU set (default: this process's).
        quota_file: The control group's `cpu.max`: microseconds a period, or max, and the period.
    """
    cores = allowed or len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = quota_file.read_text().split()
        cores = min(cores, math.ceil(float(quota) / float(period)))
    return max(1, cores)


def end_with_parent() -> None:
    """End this process, one of multiprocessing's, as soon as its parent is gone."""
    threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    sys.stderr.flush()
    os._exit(1)
