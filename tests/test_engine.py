"""The local engine with real processes: order, retries, and workers that are killed."""

import gc
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError

from qa_core.errors import UserError
from studies.engine.interface import InfrastructureError, Job, Outcome, machine_fault
from studies.engine.local import LocalEngine

PATIENCE_S = 180
"""A server that workers are forked from imports for seconds, on a busy machine for a minute."""


def open_context() -> dict[str, int]:
    """What a worker of these tests loads: its own process id."""
    return {"pid": os.getpid()}


@dataclass(frozen=True)
class Square:
    """Squares a number."""

    number: int

    def run(self, context: dict[str, int]) -> tuple[int, int]:
        """The square, and who computed it."""
        return self.number**2, context["pid"]


@dataclass(frozen=True)
class KillSelf:
    """Dies by SIGKILL as long as the marker names fewer starts than `times`."""

    marker: Path
    times: int

    def run(self, context: dict[str, int]) -> int:
        """Number of starts."""
        starts = len(self.marker.read_text()) + 1 if self.marker.exists() else 1
        self.marker.write_text("x" * starts)
        if starts <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return starts


@dataclass(frozen=True)
class Sleep:
    """Says that it started, then sleeps."""

    marker: Path

    def run(self, context: dict[str, int]) -> None:
        """Sleep for a minute."""
        self.marker.write_text(str(os.getpid()))
        time.sleep(60)


@dataclass(frozen=True)
class Fail:
    """Raises."""

    error: Exception

    def run(self, context: dict[str, int]) -> None:
        """Raise."""
        raise self.error


@dataclass(frozen=True)
class Threads:
    """Tells the thread settings that numerical libraries will read."""

    def run(self, context: dict[str, int]) -> str:
        """OMP_NUM_THREADS."""
        return os.environ["OMP_NUM_THREADS"]


@dataclass(frozen=True)
class Imported:
    """Tells whether a module was there before anybody asked for it."""

    module: str

    def run(self, context: dict[str, int]) -> bool:
        """Whether it was."""
        return self.module in sys.modules


@dataclass(frozen=True)
class Deaf:
    """Tells whether Ctrl-C is kept from the worker."""

    def run(self, context: dict[str, int]) -> bool:
        """Whether it is."""
        return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.fixture
def engine() -> Iterator[LocalEngine]:
    with closing(LocalEngine(open_context, workers=1)) as engine:
        yield engine


def finish(engine: LocalEngine, count: int) -> list[Outcome]:
    outcomes = [engine.next_outcome(PATIENCE_S) for _ in range(count)]
    assert all(outcome is not None for outcome in outcomes)
    return [outcome for outcome in outcomes if outcome is not None]


def test_the_most_expensive_job_runs_first_on_a_worker_that_stays(engine: LocalEngine) -> None:
    for number in (1, 3, 2):
        engine.submit(Job(str(number), Square(number), cost=number))
    outcomes = finish(engine, 3)
    assert [outcome.value[0] for outcome in outcomes] == [9, 4, 1]
    assert len({outcome.value[1] for outcome in outcomes}) == 1
    assert engine.next_outcome(0.1) is None
    engine.submit(Job("threads", Threads()))
    assert finish(engine, 1)[0].value == "1"


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
@pytest.mark.parametrize(
    ("module", "needed"), [("qa_core.training.training_run", True), ("transformers", False)]
)
def test_a_worker_has_imported_what_it_needs_when_it_starts(
    engine: LocalEngine, module: str, needed: bool
) -> None:
    engine.submit(Job("imported", Imported(module)))
    assert finish(engine, 1)[0].value is needed


def test_a_job_whose_worker_is_killed_is_run_again(engine: LocalEngine, tmp_path: Path) -> None:
    engine.submit(Job("fragile", KillSelf(tmp_path / "marker", times=1)))
    (outcome,) = finish(engine, 1)
    assert (outcome.value, outcome.attempts, outcome.error) == (2, 2, None)


def test_a_job_that_always_kills_its_worker_fails_by_name(
    engine: LocalEngine, tmp_path: Path
) -> None:
    engine.submit(Job("deadly", KillSelf(tmp_path / "marker", times=99), cost=2))
    engine.submit(Job("harmless", Square(2)))
    deadly, harmless = finish(engine, 2)
    assert deadly.attempts == 3 and "SIGKILL" in (deadly.error or "")
    assert harmless.value[0] == 4


def missing_here() -> None:
    """What a worker does that cannot import what its context is made of."""
    raise ImportError("no such module here")


class Unimportable:
    """A context that arrives in a worker as an error."""

    def __call__(self) -> None:
        """Never called."""

    def __reduce__(self) -> tuple[Any, ...]:
        return missing_here, ()


def test_a_context_that_a_worker_cannot_import_is_told_by_its_jobs() -> None:
    with closing(LocalEngine(Unimportable(), workers=1)) as engine:
        engine.submit(Job("any", Square(2)))
        (outcome,) = finish(engine, 1)
    assert outcome.error is not None and "ImportError: no such module here" in outcome.error


def test_a_job_that_raises_is_tried_twice(engine: LocalEngine) -> None:
    engine.submit(Job("wrong", Fail(ValueError("no such number"))))
    (outcome,) = finish(engine, 1)
    assert outcome.attempts == 2 and "ValueError: no such number" in (outcome.error or "")


def test_a_failing_machine_stops_everything(engine: LocalEngine) -> None:
    engine.submit(Job("full", Fail(OSError("No space left on device"))))
    with pytest.raises(InfrastructureError, match="No space left"):
        engine.next_outcome(PATIENCE_S)


def busy_worker(engine: LocalEngine, marker: Path) -> int:
    """Process id of the engine's worker, which sleeps in a job."""
    engine.submit(Job("long", Sleep(marker)))
    while not (marker.exists() and marker.read_text()):
        assert engine.next_outcome(0.05) is None
    return int(marker.read_text())


def test_closing_ends_busy_workers(tmp_path: Path) -> None:
    with closing(LocalEngine(open_context, workers=1)) as engine:
        worker = busy_worker(engine, tmp_path / "started")
        assert engine.running == ["long"]
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.parametrize("gpus", [(), ("0",)], ids=["forked", "spawned"])
def test_interrupts_are_kept_from_the_first_worker_of_a_process(gpus: tuple[str, ...]) -> None:
    tracker: Any = resource_tracker._resource_tracker
    tracker._stop()  # as in a process that has started nothing yet
    with closing(LocalEngine(open_context, workers=1, gpus=gpus)) as engine:
        engine.submit(Job("deaf", Deaf()))
        assert finish(engine, 1)[0].value is True


def test_without_its_server_a_busy_worker_still_ends(tmp_path: Path) -> None:
    with closing(LocalEngine(open_context, workers=1)) as engine:
        worker = busy_worker(engine, tmp_path / "started")
        server: Any = forkserver._forkserver
        os.kill(server._forkserver_pid, signal.SIGKILL)
        while multiprocessing.active_children():  # they count as dead without it
            time.sleep(0.01)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{worker}").exists()


SLOW = """
import multiprocessing, os, pathlib, time
if multiprocessing.parent_process():
    pathlib.Path("worker").write_text(str(os.getpid()))
    time.sleep(60)
def open_context():
    return {}
"""
DRIVER = """
from studies.engine.interface import Job
from studies.engine.local import LocalEngine
if __name__ == "__main__":
    import slow
    engine = LocalEngine(slow.open_context, workers=1, gpus=("0",))
    engine.submit(Job("any", None))
    engine.next_outcome(60)
"""


def test_a_spawned_worker_that_still_imports_ends_with_its_driver(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "driver.py").write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, "-m", "driver"], cwd=tmp_path)
    note = tmp_path / "worker"
    while not (note.exists() and note.read_text()):
        assert driver.poll() is None
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 10
    while (worker := Path(f"/proc/{note.read_text()}")).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not worker.exists()


def test_workers_are_spawned_where_no_server_can_be(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    code = "from studies.engine.local import preload; print(preload())"
    environment = os.environ | {"TMPDIR": str(folder)}
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (answer.stdout, answer.stderr) == ("False\n", "")


@dataclass(frozen=True)
class DieWhileAnswering:
    """Sends half an answer, then dies."""

    marker: Path

    def run(self, context: dict[str, int]) -> "HalfAnswer | int":
        """A value that kills its process while it is pickled for the driver, the first time."""
        if self.marker.exists():
            return 1
        self.marker.touch()
        return HalfAnswer()


class HalfAnswer:
    """Kills its process in the middle of a message to the driver."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        (pipe,) = [f for f in gc.get_objects() if isinstance(f, Connection)]
        os.write(pipe.fileno(), b"\x00\x00\x10\x00half")
        os.kill(os.getpid(), signal.SIGKILL)
        return HalfAnswer, ()


def test_a_worker_that_dies_in_the_middle_of_its_answer_costs_only_that(
    engine: LocalEngine, tmp_path: Path
) -> None:
    engine.submit(Job("half", DieWhileAnswering(tmp_path / "marker")))
    (outcome,) = finish(engine, 1)
    assert (outcome.value, outcome.attempts, outcome.error) == (1, 2, None)


def test_a_fault_of_the_machine_is_told_by_its_cause() -> None:
    locked = sqlite3.OperationalError("database is locked")
    told = StorageInternalError("commit failed")
    told.__cause__ = locked
    assert machine_fault(told) == "database is locked"
    assert machine_fault(ValueError("no such number")) is None
    mistake = UserError("no such file")
    mistake.__cause__ = FileNotFoundError("x")
    assert machine_fault(mistake) is None
