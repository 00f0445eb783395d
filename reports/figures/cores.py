"""The same work on many things, on all cores."""

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from qa_core.system.processes import end_with_parent, usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

_shared: tuple[Callable[[Any], Any], Sequence[Any]]


def on_all_cores(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`work` of each item, in order, in processes forked from this one.

    They hold what this process has read; only numbers of items and results pass between them, so
    that neither `work` nor the items have to be picklable. One after another where processes fork
    badly, or can have no semaphores, which need /dev/shm.
    """
    global _shared
    cores = min(usable_cores(), len(items)) if sys.platform == "linux" else 1
    if cores < 2:
        return [work(item) for item in items]
    _shared = work, items
    forks = multiprocessing.get_context("fork")
    try:
        pool = ProcessPoolExecutor(cores, forks, initializer=end_with_parent)
    except (OSError, ImportError):
        return [work(item) for item in items]
    with pool:
        return list(pool.map(_one, range(len(items))))


def _one(number: int) -> Any:
    work, items = _shared
    return work(items[number])
