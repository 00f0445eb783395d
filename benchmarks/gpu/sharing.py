"""A card that is too small for a batch, and one that several workers share."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.sizes import Sizes, bench_of, config_of
from benchmarks.soak import Session, ablation_command, contents, differences
from qa_core.training.training_run import train_run

SMALL_GB = 6.0
BATCH = 256
WORKERS = {"local": 4, "ray": 2}


def memory(sizes: Sizes, device: str, scratch: Path, cache: Path) -> dict[str, Any]:
    """A batch of 256 in 6 GB of the card, and how many of it trained at once."""
    if torch.device(device).type != "cuda":
        return {"skipped": "there is no card whose memory could be bounded"}
    bench = bench_of(sizes.models[0], sizes, device, scratch)
    config = config_of(bench, sizes.models[0], "residual", sizes, batch_size=BATCH, epochs=1)
    whole = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(SMALL_GB * 1e9 / whole)
    result = train_run(config, bench.workspace, bench.split, test=False)
    at_once = result.metrics.get("rows_at_once", BATCH)
    return {"batch": BATCH, "rows_at_once": at_once, "loss": result.history[-1]["loss"]}


def workers(sizes: Sizes, device: str, scratch: Path, cache: Path) -> dict[str, Any]:
    """Smoke ablations whose workers share the card, on either engine; one worker is killed.

    `differences` are values of their results.json that are not the same, times aside.
    """
    outs = {engine: scratch / engine for engine in WORKERS}
    found = {
        engine: _ablation(out, cache, "smoke", engine, WORKERS[engine])
        for engine, out in outs.items()
    }
    results = [json.loads((out / "results.json").read_text()) for out in outs.values()]
    return {"rows": found, "differences": len(differences(*results))}


def ablation(sizes: Sizes, device: str, scratch: Path, cache: Path) -> dict[str, Any]:
    """The default ablation on the embedded benchmark, by the clock."""
    return _ablation(scratch / "default", cache, "default", "local", WORKERS["local"])


def _ablation(out: Path, cache: Path, profile: str, engine: str, count: int) -> dict[str, Any]:
    """An ablation from the command to its end; of a small local one, a worker is killed."""
    words = ["--profile", profile, "--cache", str(cache), "--engine", engine]
    session = Session(
        ablation_command(out, *words, "--workers", str(count)), out.with_suffix(".log")
    )
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
    twice = sum(count > 1 for count in contents(out).values())
    return {"workers": count, "seconds": seconds, "killed": killed, "twice": twice}
