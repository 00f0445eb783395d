"""Which machines run the jobs, and how many workers they have room for."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any, Literal

from qa_core.errors import UserError
from studies.engine.interface import Engine
from studies.engine.processes import usable_cores, visible_gpus

EngineName = Literal["local", "ray"]
OpenContext = Callable[[], Any]


@dataclass(frozen=True)
class EngineChoice:
    """Which engine to use.

    Attributes:
        name: `local`: processes of this machine; `ray`: the cluster at RAY_ADDRESS, or one of this
            machine alone.
        workers: Workers at a time; 0 for one a GPU, without any one a core.
        threads: Threads of each.
    """

    name: EngineName = "local"
    workers: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Machines:
    """Machines at hand.

    Attributes:
        workers: How many workers run at a time.
        start: Makes the engine, a context manager, of what each worker opens.
    """

    workers: int
    start: Callable[[OpenContext], AbstractContextManager[Engine]]


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
    workers = choice.workers or len(gpus) or max(1, usable_cores() // choice.threads)
    if not gpus:
        preload(choice.threads)
    yield Machines(
        workers, lambda opener: closing(LocalEngine(opener, workers, choice.threads, gpus))
    )


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
        workers = choice.workers or places(choice.threads)
        tracking = {k: v for k, v in os.environ.items() if k.startswith("MLFLOW_TRACKING_")}
        yield Machines(
            workers, lambda opener: closing(RayEngine(opener, workers, choice.threads, tracking))
        )
