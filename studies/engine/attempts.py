"""What all engines share: the order of waiting jobs, retries, and running one in a worker."""

import heapq
import itertools
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from studies.engine.interface import InfrastructureError, Job, Outcome, Work, machine_fault

MAX_DEATHS = 2
"""Times that a job is started again after its worker was lost."""
MAX_RETRIES = 1
"""Times that a job is started again after it raised."""


@dataclass
class Attempt:
    """A job and how often it went wrong."""

    job: Job
    deaths: int = 0
    errors: int = 0


@dataclass(frozen=True)
class Reply:
    """How an attempt ended.

    Attributes:
        value: What the work returned.
        error: Traceback, or how the worker was lost; None after a success.
        fault: Why it was the machine's fault, or None.
        wall_s: Duration in seconds.
    """

    value: Any = None
    error: str | None = None
    fault: str | None = None
    wall_s: float = 0.0


def answer(work: Work, context: Callable[[], Any]) -> Reply:
    """Run a job's work in a worker, with what `context` gives."""
    try:
        opened = context()
        started = time.monotonic()
        value = work.run(opened)
    except Exception as error:
        return Reply(error=traceback.format_exc(), fault=machine_fault(error))
    return Reply(value, wall_s=time.monotonic() - started)


@dataclass(order=True)
class _Waiting:
    rank: tuple[float, int]
    attempt: Attempt = field(compare=False)


class AttemptQueue:
    """Waiting jobs; the most expensive one comes first, equals in order."""

    def __init__(self) -> None:
        self._heap: list[_Waiting] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, attempt: Attempt) -> None:
        """Queue a job, or queue it again."""
        rank = (-attempt.job.cost, next(self._order))
        heapq.heappush(self._heap, _Waiting(rank, attempt))

    def take(self) -> Attempt:
        """The next job; there has to be one."""
        return heapq.heappop(self._heap).attempt

    def settle(self, attempt: Attempt, reply: Reply, lost: bool) -> Outcome | None:
        """A job's outcome, or None where it is queued to be started again.

        Args:
            attempt: The job.
            reply: How it ended this time.
            lost: True if its worker is gone.

        Raises:
            InfrastructureError: It was the machine's fault.
        """
        if reply.fault is not None:
            fault = InfrastructureError(reply.fault)
            fault.add_note(reply.error or "")
            raise fault
        attempt.deaths += lost
        attempt.errors += reply.error is not None and not lost
        left = attempt.deaths <= MAX_DEATHS if lost else attempt.errors <= MAX_RETRIES
        if reply.error is not None and left:
            self.put(attempt)
            return None
        attempts = attempt.deaths + attempt.errors + (reply.error is None)
        return Outcome(attempt.job, reply.value, reply.error, attempts, reply.wall_s)
