"""What a study needs of whatever runs its jobs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from qa_core.command_line import heed_signals
from qa_core.errors import UserError


class Work(Protocol):
    """A job's content: a plain value that any process can be sent and can run."""

    def run(self, context: Any) -> Any:
        """Do it with what the process has loaded; returns a plain value."""
        ...


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        name: Its unique name, for people and for finding its outcome.
        work: What to run.
        cost: Expected effort in any unit; the most expensive waiting job starts first.
    """

    name: str
    work: Work
    cost: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: The job.
        value: What its work returned, or None after a failure.
        error: Traceback or reason of the last failed attempt, or None.
        attempts: How often it was started.
        wall_s: Duration of the last attempt in seconds.
    """

    job: Job
    value: Any
    error: str | None
    attempts: int
    wall_s: float


class InfrastructureError(Exception):
    """The machine failed, not a job: disk full, store locked or gone. Nothing is recorded."""


_STORES = ("mlflow.", "optuna.storages.", "optuna.exceptions.", "sqlalchemy.", "sqlite3.")


def machine_fault(error: BaseException) -> str | None:
    """A sentence where disk or stores have caused an error, else None."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    faults = [one for one in causes if _is_of_the_machine(one)]
    if isinstance(error, UserError) or not faults:
        return None
    return str(faults[-1]).strip().split("\n", 1)[0] or type(faults[-1]).__name__


def _is_of_the_machine(error: BaseException) -> bool:
    kind = type(error)
    known = isinstance(error, OSError | InfrastructureError)
    return known or f"{kind.__module__}.".startswith(_STORES)


class Engine(Protocol):
    """Runs jobs at once on several workers; outcomes come in any order."""

    workers: int

    def submit(self, job: Job) -> None:
        """Queue a job."""
        ...

    def next_outcome(self, timeout_s: float) -> Outcome | None:
        """The next outcome, or None if there is none within this time.

        Raises:
            InfrastructureError: The machine failed, so that no job can run.
        """
        ...

    @property
    def running(self) -> list[str]:
        """Names of the jobs that run now."""
        ...


def collect(engine: Engine, count: int) -> Iterator[Outcome]:
    """The next outcomes of an engine, as many as were submitted.

    Raises:
        InfrastructureError: Going on makes no sense.
    """
    for _ in range(count):
        while (outcome := engine.next_outcome(1.0)) is None:
            heed_signals()
        yield outcome
