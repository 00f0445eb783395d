"""What a GPU does for training, and whether it gives the same answers: `make gpu-check`.

Each part is a process of its own, with a limit of time: one that dies or hangs leaves the others
their turn. `OUT/gpu.json` holds what every part found, or why not; parts that are not asked for
stay as they are.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.bench import commit, machine
from benchmarks.gpu.part import PARTS, RESULT
from qa_core import command_line as cli
from qa_core.errors import UserError
from qa_core.system.device import is_card, pick_device
from qa_core.system.files import written_whole

USUAL = [name for name in PARTS if name not in ("workers", "ablation")]
"""At most 8 minutes together."""
_END_S = 20.0
WIDTH = 110


@dataclass(frozen=True)
class GpuCheck:
    """What a GPU does for training, and whether it gives the answers of a CPU."""

    out: Path = Path("runs/gpu")
    """Folder of gpu.json."""
    only: str = " ".join(USUAL)
    """Parts, blanks between them; those that run whole ablations have to be asked for: `workers`
    (at most 7 minutes) and `ablation`, the default one (half an hour)."""
    device: str = "cuda"
    """Where; on cpu everything is tiny, and shows that it runs."""
    cache: Path = Path(".cache")
    """Folder of the embedded benchmark's images."""
    debug: bool = False
    """Show the traceback of an error as well."""


def main() -> None:
    """Run the parts and print what they found; exit status 1 if one did not end by itself."""
    args = cli.parse(GpuCheck, str(GpuCheck.__doc__))
    names = args.only.split()
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise UserError(f"--only {args.only!r}: the parts are {', '.join(PARTS)}.")
    pick_device(args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "gpu.json"
    found = json.loads(file.read_text()) if file.is_file() else {}
    for name in names:
        print(f"{name}, at most {PARTS[name].limit_s:.0f} s", flush=True)
        told = {"device": device_words(args.device), "machine": machine(), "commit": commit()}
        found[name] = run_apart(name, args.device, args.cache) | told
        with written_whole(file) as partial:
            partial.write_text(json.dumps(found, indent=2) + "\n")
    for name in names:
        print_part(name, found[name])
    print(file)
    sys.exit(any("failed" in found[name] for name in names))


def run_apart(name: str, device: str, cache: Path) -> dict[str, Any]:
    """What a part found in a process of its own, or why it did not, and its seconds."""
    started, limit = time.monotonic(), PARTS[name].limit_s
    with tempfile.TemporaryDirectory() as scratch:
        words = [sys.executable, "-m", "benchmarks.gpu.part", name, device, scratch, str(cache)]
        process = subprocess.Popen(words, start_new_session=True)
        why = ""
        try:
            code = process.wait(limit)
            why = f"it ended with status {code}; its words are above" if code else ""
        except subprocess.TimeoutExpired:
            why = f"it took longer than {limit:.0f} s"
        finally:
            _end(process)
        file = Path(scratch) / RESULT
        found = json.loads(file.read_text()) if file.is_file() else {}
    told = {"failed": why} if why else {}
    return found | told | {"wall_s": time.monotonic() - started}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that may be at work, and what it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(_END_S)


def device_words(device: str) -> str:
    """The name of a card; of another device, its kind."""
    return torch.cuda.get_device_name(device) if is_card(device) else device


def print_part(name: str, found: dict[str, Any]) -> None:
    """Its figures: a table of its rows, where it has some, and the rest."""
    rows = found.get("rows", [])
    if isinstance(rows, dict):
        rows = [{"": key} | values for key, values in rows.items()]
    if rows:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = Table(*columns, title=name)
        for row in rows:
            table.add_row(*(_words(row.get(column)) for column in columns))
        Console(width=WIDTH).print(table)
    for key, value in found.items():
        if key != "rows":
            print(f"{name:<12}{key:<18}{_words(value)}")


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(one)}" for key, one in value.items())
    if isinstance(value, list):
        return " ".join(map(_words, value))
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    cli.run(main)
