"""One part of `make gpu-check`, in a process of its own.

python -m benchmarks.gpu.part NAME DEVICE FOLDER CACHE
"""

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.answers import answers
from benchmarks.gpu.frozen import frozen
from benchmarks.gpu.sharing import ablation, memory, workers
from benchmarks.gpu.sizes import ON_CARD, ON_CPU, Found, Sizes
from benchmarks.gpu.steps import steps
from benchmarks.gpu.throughput import throughput
from qa_core.system.files import written_whole

RESULT = "found.json"


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
        run: Gets sizes, a device, a folder for what it makes, and the cache; gives, again and
            again, what it has found so far.
        limit_s: Seconds that it may take.
    """

    run: Callable[[Sizes, str, Path, Path], Iterator[Found]]
    limit_s: float


PARTS = {
    "answers": Part(answers, 75),
    "throughput": Part(throughput, 240),
    "steps": Part(steps, 45),
    "frozen": Part(frozen, 75),
    "memory": Part(memory, 45),
    "workers": Part(workers, 420),
    "ablation": Part(ablation, 1800),
}
"""In the order of what tells most."""


def main(name: str, device: str, folder: str, cache: str) -> None:
    """Run the part and write what it has found, whenever that is more."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end what it started
    sizes = ON_CPU if device == "cpu" else ON_CARD
    for found in PARTS[name].run(sizes, device, Path(folder), Path(cache)):
        with written_whole(Path(folder) / RESULT) as partial:
            partial.write_text(json.dumps(found))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # out of time
        main(*sys.argv[1:])
