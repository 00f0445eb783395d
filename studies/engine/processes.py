"""How a machine is divided among worker processes: cores, threads, GPUs."""

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def thread_variables(threads: int) -> dict[str, str]:
    """Environment of a process of so many threads; numerical libraries read it at import."""
    return dict.fromkeys(_THREAD_VARIABLES, str(threads))


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
