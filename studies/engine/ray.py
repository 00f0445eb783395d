"""Jobs on the workers of a Ray cluster, which load their context once and stay.

Workers are Ray actors. The driver keeps the queue, as the local engine does, and gives a job only
to a worker that has opened its context; so a node that is lost, or has no room, holds no job up.
"""

import contextlib
import logging
import math
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from qa_core.errors import UserError, last_line
from studies.engine.attempts import Attempt, AttemptQueue, Reply, answer
from studies.engine.interface import InfrastructureError, Job, Outcome, Work
from studies.engine.processes import ONE_THREAD

PATIENCE_S = 600.0
"""Seconds without any worker after which waiting for the cluster makes no sense."""
MAX_FAILED_STARTS = 3
"""Workers lost in a row while they open their context."""
_GRACE_S = 10.0
_KNOCK_S = 5.0
_SHARED = "Every node needs the checkout, the data and the weights under the same paths"
_STORE_BYTES = 200 * 2**20
"""Ray's memory for objects on this machine; jobs and outcomes are small."""


@contextlib.contextmanager
def joined(address: str | None, workers: int) -> Iterator[None]:
    """Be a driver of the cluster at this address, or of one of `workers` cores started here.

    Raises:
        UserError: There is no such cluster.
    """
    own = {
        "num_cpus": workers,
        "include_dashboard": False,
        "object_store_memory": _STORE_BYTES,
        "_node_ip_address": "127.0.0.1",
    }
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        ray.init(
            address or "local",
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            **({} if address else own),
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0].rstrip(".")
        raise UserError(
            f"No Ray cluster can be joined at {address or 'this machine'}: {reason}. Start the"
            " command on a machine of the cluster, with RAY_ADDRESS=HOST:6379 or auto"
            " (docs/cluster.md)."
        ) from error
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray has set its own
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Find out in seconds whether anybody listens; Ray would try for minutes.

    Raises:
        OSError: Nobody does.
        ValueError: It is no address.
    """
    if address not in (None, "auto", "local"):
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()


def places() -> int:
    """How many workers the cluster has room for: one a GPU, without any one a core."""
    resources = ray.cluster_resources()
    return max(1, int(resources.get("GPU", 0)) or int(resources.get("CPU", 0)))


def gpu_share(gpus: int, workers: int) -> float:
    """The share of a GPU that each worker asks for, so that all of them find room at once."""
    if not gpus:
        return 0.0
    workers_a_gpu = max(1, math.ceil(workers / gpus))
    return math.floor(1e4 / workers_a_gpu) / 1e4  # Ray counts in ten-thousandths


class _Server:
    """A worker on a node."""

    def open(
        self, open_context: Callable[[], Any], folder: str, environment: Mapping[str, str]
    ) -> str | None:
        """Load what jobs need; returns why this node cannot, or None."""
        try:
            os.environ.update(environment)
            os.chdir(folder)
            self._context = open_context()
        except Exception as error:
            traceback.print_exc()  # for Ray's own logs on the node
            return f"{socket.gethostname()} cannot open the ablation ({error}). {_SHARED}"
        return None

    def run(self, work: Work) -> Reply:
        """Run a job."""
        return answer(work, lambda: self._context)


@dataclass
class _Worker:
    actor: Any  # Ray makes the class of a handle while it runs
    pending: Any
    is_open: bool = False
    attempt: Attempt | None = None


class RayEngine:
    """Actors on a cluster that this process has joined, until `close`.

    Args:
        open_context: Called once in each worker; its result is passed to the jobs. Picklable.
        workers: The most workers at a time.
        environment: Variables that workers need before they open their context.
    """

    def __init__(
        self,
        open_context: Callable[[], Any],
        workers: int,
        environment: Mapping[str, str] | None = None,
    ):
        self.workers = workers
        self._opening = (ray.put(open_context), os.getcwd(), dict(environment or {}))
        self._demand: dict[str, Any] = {
            "num_cpus": 1,
            "num_gpus": gpu_share(int(ray.cluster_resources().get("GPU", 0)), workers),
            "runtime_env": {"env_vars": ONE_THREAD},
        }
        self._queue = AttemptQueue()
        self._pool: list[_Worker] = []
        self._failed_starts = 0
        self._waits_since: float | None = None

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
            InfrastructureError: A node lacks what jobs need, or the cluster has no room.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self._dispatch()
            self._refuse_endless_wait()
            pending = {w.pending: w for w in self._pool if w.pending is not None}
            left = max(0.0, deadline - time.monotonic())
            ended = ray.wait(list(pending), timeout=left)[0] if pending else []
            for reference in ended:
                outcome = self._collect(pending[reference])
                if outcome is not None:
                    return outcome
            if time.monotonic() >= deadline or not (self.running or self._queue):
                return None

    def close(self) -> None:
        """End all workers, the busy ones too; what they were doing is lost."""
        busy = [worker.pending for worker in self._pool if worker.attempt]
        for worker in self._pool:
            ray.kill(worker.actor)
        if busy:  # until they are gone, so that nobody writes any more
            ray.wait(busy, num_returns=len(busy), timeout=_GRACE_S)
        self._pool.clear()

    def _dispatch(self) -> None:
        """Give waiting jobs to idle workers, and start workers while more are allowed."""
        for worker in self._pool:
            if worker.is_open and worker.attempt is None and self._queue:
                worker.attempt = self._queue.take()
                worker.pending = worker.actor.run.remote(worker.attempt.job.work)
        starting = sum(not worker.is_open for worker in self._pool)
        wanted = min(self.workers - len(self._pool), len(self._queue) - starting)
        for _ in range(wanted):
            actor: Any = ray.remote(_Server).options(**self._demand).remote()
            self._pool.append(_Worker(actor, actor.open.remote(*self._opening)))

    def _collect(self, worker: _Worker) -> Outcome | None:
        """What came of a worker's job; None where it has only opened, or its job starts again."""
        attempt, reference = worker.attempt, worker.pending
        worker.attempt = worker.pending = None
        lost = False
        try:
            reply: Any = ray.get(reference)
        except RayTaskError as error:  # such as a value that cannot be sent
            reply = Reply(error=repr(error.cause))
        except RayError as error:
            lost = True
            reply = Reply(error=f"The Ray worker was lost while it ran this job: {error}")
            self._bury(worker)
        if attempt is not None:
            return self._queue.settle(attempt, reply, lost)
        self._note_start(worker, reply, lost)
        return None

    def _note_start(self, worker: _Worker, reply: Any, lost: bool) -> None:
        self._failed_starts = self._failed_starts + 1 if lost else 0
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise InfrastructureError(
                f"{MAX_FAILED_STARTS} workers in a row were lost while they opened the ablation,"
                f" the last one so: {last_line(reply.error)}"
            )
        if isinstance(reply, str):
            raise InfrastructureError(reply)
        worker.is_open = not lost

    def _bury(self, worker: _Worker) -> None:
        with contextlib.suppress(RayError):
            ray.kill(worker.actor)
        self._pool.remove(worker)

    def _refuse_endless_wait(self) -> None:
        if not self._queue or any(worker.is_open for worker in self._pool):
            self._waits_since = None
            return
        self._waits_since = self._waits_since or time.monotonic()
        if time.monotonic() - self._waits_since > PATIENCE_S:
            cores, gpus = self._demand["num_cpus"], self._demand["num_gpus"]
            raise InfrastructureError(
                f"for {PATIENCE_S / 60:.0f} minutes no worker could start on the Ray cluster. Each"
                f" asks for {cores} cores and {gpus:g} GPUs: `ray status` shows what is free"
            )
