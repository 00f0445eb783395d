"""How a machine is divided among worker processes: threads and GPUs."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence

ONE_THREAD: dict[str, str] = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Environment of a worker; numerical libraries read it at import."""
GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus(environment: Mapping[str, str], count: int) -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES takes them.

    Args:
        environment: Variables of this process.
        count: How many GPUs it sees.
    """
    named = environment.get(GPU_VARIABLE)
    every = [str(number) for number in range(count)] if named is None else named.split(",")
    return [name.strip() for name in every][:count]


def next_gpu(gpus: Sequence[str], taken: Sequence[str]) -> str | None:
    """The GPU for one more worker: the first of those with the fewest workers; None without any.

    So workers go round the GPUs, and the successor of a dead one takes its place.
    """
    return min(gpus, key=taken.count, default=None)


@contextlib.contextmanager
def in_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for processes started inside."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
