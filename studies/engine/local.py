"""Jobs on worker processes of this machine, which load their context once and stay.

The driver keeps the queue and hands every worker one job at a time, so a dead worker costs the one
job it was running; that job is sent to another.
"""

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.forkserver import ensure_running
from typing import Any, NoReturn

from qa_core.system.processes import end_with_parent
from studies.engine.attempts import Attempt, AttemptQueue, Reply, answer
from studies.engine.interface import Job, Outcome
from studies.engine.processes import GPU_VARIABLE, ONE_THREAD, in_environment, next_gpu

_GRACE_S = 5.0
_UNKNOWN = 255
"""Exit code that multiprocessing reports of a worker, dead or alive, whose server was killed."""
_IMPORTS = "studies.engine.worker_imports"


def preload() -> bool:
    """Start the server that workers are forked from, which imports what they need; does not wait.

    Returns:
        Whether processes can be forked here; False where they fork badly, or where the path of the
        folder for temporary files is too long for a socket.
    """
    if sys.platform != "linux":
        return False
    multiprocessing.set_forkserver_preload([_IMPORTS])
    try:
        with in_environment(ONE_THREAD), interrupts_held():
            ensure_running()
    except OSError:
        return False
    return True


@dataclass
class _Worker:
    process: Any  # multiprocessing's processes have no public name
    connection: Connection
    gpu: str | None
    attempt: Attempt | None = None


class LocalEngine:
    """Worker processes of one thread each, until `close`.

    They are forked from a server that has imported what they need. Where there are GPUs they are
    spawned: CUDA does not work in a forked process if the server has touched it.

    Args:
        open_context: Called once in each worker; its result is passed to the jobs. Picklable.
        workers: Number of processes.
        gpus: GPUs to divide among them, as CUDA_VISIBLE_DEVICES names them.
    """

    def __init__(
        self,
        open_context: Callable[[], Any],
        workers: int,
        gpus: Sequence[str] = (),
    ):
        self.workers, self._gpus = workers, gpus
        self._open_context = open_context
        forks = not gpus and preload()
        context = multiprocessing.get_context
        self._starting = context("forkserver") if forks else context("spawn")
        self._queue = AttemptQueue()
        self._pool: list[_Worker] = []

    @property
    def running(self) -> list[str]:
        """Names of the jobs that run now."""
        return [worker.attempt.job.name for worker in self._pool if worker.attempt]

    def submit(self, job: Job) -> None:
        """Queue a job; the most expensive one starts first, equals in order."""
        self._queue.put(Attempt(job))

    def next_outcome(self, timeout_s: float) -> Outcome | None:
        """The next outcome, or None if there is none within this time.

        Raises:
            InfrastructureError: A worker could not reach its files or stores.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self._dispatch()
            busy = {w.connection: w for w in self._pool if w.attempt}
            left = max(0.0, deadline - time.monotonic())
            for connection in wait(list(busy), left) if busy else []:
                outcome = self._collect(busy[connection])  # type: ignore[index]
                if outcome is not None:
                    return outcome
            if time.monotonic() >= deadline or not (busy or self._queue):
                return None

    def close(self) -> None:
        """End all workers, the busy ones too; what they were doing is lost."""
        for worker in self._pool:
            worker.process.terminate()
        for worker in self._pool:
            worker.process.join(_GRACE_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            elif worker.process.exitcode == _UNKNOWN:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.process.pid, signal.SIGKILL)
            worker.connection.close()
        self._pool.clear()

    def _dispatch(self) -> None:
        """Give waiting jobs to idle workers, and start workers while more are allowed."""
        while self._queue:
            worker = next((w for w in self._pool if w.attempt is None), None)
            if worker is None:
                if len(self._pool) >= self.workers:
                    return
                worker = self._start_worker()
            attempt = self._queue.take()
            worker.attempt = attempt
            with contextlib.suppress(BrokenPipeError):  # dead: `_collect` will see it
                worker.connection.send(attempt.job.work)

    def _start_worker(self) -> _Worker:
        ours, theirs = self._starting.Pipe()
        process = self._starting.Process(target=_serve, args=(theirs,), daemon=True)
        gpu = next_gpu(self._gpus, [w.gpu for w in self._pool if w.gpu is not None])
        variables = ONE_THREAD | ({} if gpu is None else {GPU_VARIABLE: gpu})
        with in_environment(variables), interrupts_held():
            process.start()
        theirs.close()
        worker = _Worker(process, ours, gpu)
        self._pool.append(worker)
        with contextlib.suppress(BrokenPipeError):  # dead: `_collect` will see it
            ours.send(self._open_context)
        return worker

    def _collect(self, worker: _Worker) -> Outcome | None:
        """A worker's outcome, or None where its job has to be started again."""
        attempt, worker.attempt = worker.attempt, None
        assert attempt is not None
        lost = False
        try:
            reply: Reply = worker.connection.recv()
        except (EOFError, OSError):  # the latter where it died in the middle of its answer
            reply, lost = self._bury(worker), True
        return self._queue.settle(attempt, reply, lost)

    def _bury(self, worker: _Worker) -> Reply:
        worker.process.join()
        worker.connection.close()
        self._pool.remove(worker)
        code = worker.process.exitcode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return Reply(error=f"The worker process ended by {how} while it ran this job.")


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C from processes started inside: it reaches all, and the driver decides."""
    resource_tracker.ensure_running()  # which lets Ctrl-C through again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection) -> None:
    """A worker's main loop: open the context, then run jobs until the driver is gone.

    What opens it comes by the connection: to receive it is to import torch, for seconds in a
    spawned process, which has to end with its parent meanwhile too.
    """
    end_with_parent()
    with contextlib.suppress(EOFError):
        try:
            context = functools.cache(connection.recv())  # a failure is not kept: jobs try again
        except EOFError:
            return
        except Exception as error:  # it cannot be imported here: every job tells why
            context = functools.partial(_fail, error)
        while True:
            connection.send(answer(connection.recv(), context))


def _fail(error: Exception) -> NoReturn:
    raise error
