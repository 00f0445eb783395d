"""Which machines run the jobs, and how many workers they have room for."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any, Literal

from qa_core.errors import UserError
from qa_core.system.processes import usable_cores
from studies.engine.interface import Engine
from studies.engine.processes import visible_gpus

EngineName = Literal["local", "ray"]
OpenContext = Callable[[], Any]


@dataclass(frozen=True)
class EngineChoice:
    """Which engine to use.

    Attributes:
        name: `local`: processes of this machine; `ray`: the cluster at RAY_ADDRESS, or one of this
            machine alone.
        workers: Workers at a time, of one thread each; 0 for one a GPU, without any one a core.
    """

    name: EngineName = "local"
    workers: int = 0


@dataclass(frozen=True)
class Machines:
    """Machines at hand.

    Attributes:
        workers: How many workers run at a time.
        start: Makes the engine, a context manager, of what each worker opens.
        prepare: Begins, beside this process, what will take a worker long; returns at once.
    """

    workers: int
    start: Callable[[OpenContext], AbstractContextManager[Engine]]
    prepare: Callable[[], object] = lambda: None


@contextlib.contextmanager
def open_machines(choice: EngineChoice) -> Iterator[Machines]:
    """The machines of a choice, for as long as they are needed.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    opener = _cluster if choice.name == "ray" else _this_machine
    with opener(choice) as machines:
        yield machines


@contextlib.contextmanager
def _this_machine(choice: EngineChoice) -> Iterator[Machines]:
    import torch  # late: seconds

    from studies.engine.local import LocalEngine, preload

    gpus = visible_gpus(os.environ, torch.cuda.device_count())
    workers = choice.workers or len(gpus) or usable_cores()

    def start(opener: OpenContext) -> AbstractContextManager[Engine]:
        return closing(LocalEngine(opener, workers, gpus))

    yield Machines(workers, start) if gpus else Machines(workers, start, preload)


@contextlib.contextmanager
def _cluster(choice: EngineChoice) -> Iterator[Machines]:
    address = os.environ.get("RAY_ADDRESS") or None
    if address is None:  # Ray reads it on import: a cluster of one machine listens to itself alone
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        from studies.engine.ray import RayEngine, joined, places
    except ImportError as error:
        raise UserError(f"ENGINE=ray needs Ray ({error}): make setup installs it.") from error
    with joined(address, choice.workers or usable_cores()):
        workers = choice.workers or places()
        tracking = {k: v for k, v in os.environ.items() if k.startswith("MLFLOW_TRACKING_")}
        yield Machines(workers, lambda opener: closing(RayEngine(opener, workers, tracking)))
