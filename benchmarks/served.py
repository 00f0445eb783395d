"""The served model under load: a real server and a real client, on the same cores.

Every request has one image and a prompt of its own. Wall time is shared with whatever else runs on
the machine; the server's processor time a request is hardly.
"""

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import HOST, Load
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.data.splits import Split
from qa_core.features.workspace import Workspace
from qa_core.modes import mode_config
from qa_core.records.schema import Kind
from qa_core.records.tracking import RunRecord, Tracker
from qa_core.serving.champion import register_model
from qa_core.training.training_run import train_run

REQUESTS, AT_ONCE = 2000, (1, 8, 32)
_IMAGES, _WARM = 40, 200


@dataclass(frozen=True)
class Used:
    """What a server and its processes have used so far, and hold.

    Attributes:
        processor_s: Seconds of a processor.
        memory_mb: What they share counts once, and what programs beside them map too (libraries)
            in part, so that it moves when such a program starts or ends.
        data_mb: The part of it that is no file's, theirs alone.
    """

    processor_s: float
    memory_mb: float
    data_mb: float


def served(scratch: Path, cache: Path, requests: int = REQUESTS) -> dict[str, Any]:
    """Answers, times and memory of the served model, by how many requests are sent at once.

    Args:
        scratch: Where the model is registered.
        cache: Where the rendered benchmark lies.
        requests: How many are sent, each time.
    """
    workspace = Workspace.open(RunConfig(), cache, n_replicates=1)
    out = register(workspace, scratch)
    bodies = list(_bodies(workspace, requests))
    file, warm = scratch / "bodies", scratch / "warm"
    file.write_bytes(b"\n".join(bodies))
    warm.write_bytes(b"\n".join(bodies[:_WARM]))
    found: dict[str, Any] = {}
    with serving(out) as (server, port):
        for at_once in AT_ONCE:
            send(port, at_once, warm)
        for at_once in AT_ONCE:
            found[str(at_once)] = _measured(server, port, at_once, file)
            print(f"{at_once} at once: {found[str(at_once)]}", flush=True)
    return found


def register(workspace: Workspace, scratch: Path) -> Path:
    """A folder with a registered champion, which has seen a few images once."""
    rows = np.arange(_IMAGES)
    split = Split(0, rows[_IMAGES // 4 :], rows[: _IMAGES // 4], rows[:0])
    base = run_config_from_flat({"epochs": 1, "threads": 1})
    config = mode_config("linear_probe", base, workspace.spec)
    result = train_run(config, workspace, split, test=False, output_dir=scratch / "run")
    assert result.checkpoint is not None
    out = scratch / "ablation"
    tracker = Tracker.open(out)
    run_id = tracker.start(RunRecord("an ablation", Kind.ABLATION))
    register_model(tracker.uri, run_id, result.checkpoint)
    return out


@contextlib.contextmanager
def serving(out: Path) -> Iterator[tuple[int, int]]:
    """Process and port of what `make serve` starts on a folder; ended on the way out."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "experiments.serve", "--out", str(out), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        said = iter(server.stdout.readline, "")
        assert any("Ctrl-C" in line for line in said), "the server did not start"
        yield server.pid, port
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def send(port: int, at_once: int, bodies: Path) -> Load:
    """What came of a load, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(at_once), str(bodies)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Load(**json.loads(told))


def family(pid: int) -> list[int]:
    """A process and all that it has started and that live, the latest last."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def used(pid: int) -> Used:
    """What a process and all that it has started have used."""
    seconds, kilobytes = 0.0, {"Pss": 0, "Pss_Anon": 0}
    for one in family(pid):
        words = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        seconds += sum(map(int, words[11:13])) / os.sysconf("SC_CLK_TCK")
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()[1:]:
            name, value, _ = line.split()
            if name[:-1] in kilobytes:
                kilobytes[name[:-1]] += int(value)
    return Used(seconds, *(value / 1024 for value in kilobytes.values()))


def _measured(server: int, port: int, at_once: int, bodies: Path) -> dict[str, float]:
    before = used(server)
    load = send(port, at_once, bodies)
    after = used(server)
    p50, p99 = np.percentile(np.array(load.waits_s) * 1e3, [50, 99])
    requests = len(load.waits_s)
    figures = {
        "failed": load.failed,
        "per_s": requests / load.seconds,
        "p50_ms": p50,
        "p99_ms": p99,
        "processor_ms": (after.processor_s - before.processor_s) / requests * 1e3,
        "memory_mb": after.memory_mb,
        "data_mb": after.data_mb,
        "data_grown_mb": after.data_mb - before.data_mb,
    }
    return {name: round(float(value), 1) for name, value in figures.items()}


def _bodies(workspace: Workspace, requests: int) -> Iterator[bytes]:
    frame = workspace.table.of_rows(np.arange(_IMAGES)).frame
    images = [base64.b64encode(Path(path).read_bytes()).decode() for path in frame["image_path"]]
    for number in range(requests):
        row = number % _IMAGES
        pair = {"image": images[row], "prompt": f"{frame['prompt'].iloc[row]}, {number}"}
        yield json.dumps({"dataframe_records": [pair]}).encode()
