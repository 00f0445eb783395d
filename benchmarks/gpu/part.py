"""One part of `make gpu-check`, in a process of its own.

python -m benchmarks.gpu.part NAME DEVICE FOLDER CACHE
"""

import contextlib
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.answers import answers
from benchmarks.gpu.frozen import frozen
from benchmarks.gpu.sharing import ablation, memory, workers
from benchmarks.gpu.sizes import ON_CARD, ON_CPU, Sizes
from benchmarks.gpu.steps import steps
from benchmarks.gpu.throughput import throughput

RESULT = "found.json"


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
        run: Gets sizes, a device, a folder for what it makes, and the cache; returns what it found.
        limit_s: Seconds that it may take.
    """

    run: Callable[[Sizes, str, Path, Path], dict[str, Any]]
    limit_s: float


PARTS = {
    "answers": Part(answers, 90),
    "throughput": Part(throughput, 150),
    "steps": Part(steps, 45),
    "frozen": Part(frozen, 75),
    "memory": Part(memory, 30),
    "workers": Part(workers, 90),
    "ablation": Part(ablation, 1800),
}
"""In the order of what tells most."""


def main(name: str, device: str, folder: str, cache: str) -> None:
    """Run the part and write what it found."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end what it started
    sizes = ON_CPU if device == "cpu" else ON_CARD
    found = PARTS[name].run(sizes, device, Path(folder), Path(cache))
    (Path(folder) / RESULT).write_text(json.dumps(found))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # out of time
        main(*sys.argv[1:])
