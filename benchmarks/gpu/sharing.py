"""A card that is too small for a batch, and one that several workers share."""

import contextlib
import importlib.util
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.gpu.sizes import Found, Sizes, bench_of, config_of
from benchmarks.soak import Session, ablation_command, contents, differences
from qa_core.system.device import is_card
from qa_core.training.training_run import train_run

SMALL_GB = 6.0
BATCH = 256
WORKERS = {"local": 4, "ray": 2}


def memory(sizes: Sizes, device: str, scratch: Path, cache: Path) -> Iterator[Found]:
    """A batch of 256 in 6 GB of the card, and how many of it trained at once."""
    if not is_card(device):
        yield {"skipped": "there is no card whose memory could be bounded"}
        return
    bench = bench_of(sizes.models[0], sizes, device, scratch)
    config = config_of(bench, sizes.models[0], "residual", sizes, batch_size=BATCH, epochs=1)
    whole = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(SMALL_GB * 1e9 / whole, device)
    result = train_run(config, bench.workspace, bench.split, test=False)
    at_once = result.metrics.get("rows_at_once", BATCH)
    yield {"batch": BATCH, "rows_at_once": at_once, "loss": result.history[-1]["loss"]}


def workers(sizes: Sizes, device: str, scratch: Path, cache: Path) -> Iterator[Found]:
    """Smoke ablations whose workers share the card, by each engine there is; one worker is killed.

    `differences` are values of their results.json that are not the same, times aside.
    """
    engines = [name for name in WORKERS if name == "local" or importlib.util.find_spec(name)]
    rows: dict[str, Found] = {}
    for engine in engines:
        rows[engine] = _ablation(scratch / engine, cache, "smoke", engine)
        yield {"rows": rows}
    results = [json.loads((scratch / name / "results.json").read_text()) for name in engines]
    if len(results) == len(WORKERS):
        found = set(differences(*results)) - {"provenance.workers"}  # their number is not the same
        yield {"rows": rows, "differences": len(found)}


def ablation(sizes: Sizes, device: str, scratch: Path, cache: Path) -> Iterator[Found]:
    """The default ablation on the embedded benchmark, by the clock."""
    yield _ablation(scratch / "default", cache, "default", "local")


def _ablation(out: Path, cache: Path, profile: str, engine: str) -> Found:
    """An ablation from the command to its end; of a small local one, a worker is killed."""
    words = ["--profile", profile, "--cache", str(cache), "--engine", engine]
    words += ["--workers", str(WORKERS[engine])]
    session = Session(ablation_command(out, *words), out.with_suffix(".log"))
    killed = None
    try:
        if (profile, engine) == ("smoke", "local"):  # Ray's are in no group of the driver's
            session.wait_for_line(" tune ")
            killed = session.strike("worker", signal.SIGKILL)
        code = session.driver.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(session.driver.pid, signal.SIGKILL)
    if code:
        raise RuntimeError(session.log.read_text()[-2000:])
    seconds = time.monotonic() - session.started
    twice = sum(often > 1 for often in contents(out).values())
    return {"workers": WORKERS[engine], "seconds": seconds, "killed": killed, "twice": twice}
