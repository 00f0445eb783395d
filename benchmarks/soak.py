"""Strike a running ablation at random moments and see that it ends as an undisturbed one does.

    make soak [STRIKES=20 SEED=0 SPAWN=1 CHANGES=1]

One study after another is struck up to four times, each time resumed by the same command, then left
to end. Its `results.json` must equal that of an undisturbed run (times, memory, dates and ids
aside), no result may be there twice, and no run of MLflow may stay RUNNING.

With `SPAWN=1` workers are spawned instead of forked, as beside a GPU or under macOS. With
`CHANGES=1` studies run on a small table of their own, and after every blow that ends the command an
input is changed: an image, the weights, a rating, or a flag. The command must refuse, name what
changed, and go on once it is as it was.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import tyro

from benchmarks.changed_inputs import CHANGES, refuses, write_inputs

Victim = Literal["worker", "driver", "all"]

BLOWS: tuple[tuple[Victim, signal.Signals], ...] = (
    ("worker", signal.SIGKILL),
    ("driver", signal.SIGKILL),
    ("all", signal.SIGKILL),
    ("driver", signal.SIGTERM),
    ("all", signal.SIGINT),
)
"""Whom to strike and how; `all` is the driver with its workers, as Ctrl-C in a terminal does it."""
STRIKES_A_STUDY = 4
ORDERLY = 130
"""Exit status after SIGINT and SIGTERM."""
_GONE_S = 20.0


@dataclass(frozen=True)
class Soak:
    """Twenty random strikes."""

    strikes: int = 20
    """How many."""
    seed: int = 0
    """Of moments, signals and targets."""
    profile: str = "smoke"
    """Size of the ablation."""
    spawn: bool = False
    """Spawn workers instead of forking them."""
    changes: bool = False
    """Change an input after every blow that ends the command."""


class Session:
    """One command at work, in a process group of its own, its output in a file.

    Args:
        command: The command.
        log: The file.
    """

    def __init__(self, command: list[str], log: Path):
        self.log, self.started = log, time.monotonic()
        with log.open("w") as output:
            self.driver = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def lasts(self, seconds: float) -> bool:
        """Whether it is still at work after so many more seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.driver.wait(seconds)
        return self.driver.poll() is None

    def wait_for_line(self, words: str) -> None:
        """Wait until its output holds these words."""
        while words not in self.log.read_text():
            assert self.driver.poll() is None, f"ended before {words!r}:\n{self.log.read_text()}"
            time.sleep(0.05)

    def strike(self, target: Victim, number: signal.Signals) -> Victim:
        """Send a signal; to the driver where there is no worker. Returns who was struck."""
        workers = [pid for pid in group_members(self.driver.pid) if is_worker(pid)]
        if target == "all":
            os.killpg(self.driver.pid, number)
        elif target == "worker" and workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(workers[0], number)
        else:
            os.kill(self.driver.pid, number)
            return "driver"
        return target

    def end(self, kind: signal.Signals) -> str:
        """Wait for the end after a strike at the driver; what is wrong with it, or nothing."""
        code = self.driver.wait()
        deadline = time.monotonic() + _GONE_S
        while (left := group_members(self.driver.pid)) and time.monotonic() < deadline:
            time.sleep(0.1)
        if left:
            return f"processes {left} outlived their driver"
        text = self.log.read_text()
        if kind == signal.SIGKILL or not text:  # without a word: it had not begun
            return "" if code in (-kind, ORDERLY) else f"exit status {code}"
        if code != ORDERLY or "Traceback" in text or "interrupted" not in text:
            return f"exit status {code}:\n{text[-2000:]}"
        return ""


def group_members(group: int) -> list[int]:
    """Process ids of a group, its dead ones aside."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            state, _, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(int(entry.name))
    return sorted(found)


def is_worker(pid: int) -> bool:
    """Whether a process is a worker of the local engine: a fork of its server, or spawned."""
    with contextlib.suppress(OSError):
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        of_server = b"forkserver" in Path(f"/proc/{parent}/cmdline").read_bytes()
        return of_server or b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def lasting(content: Any) -> Any:
    """What of a results.json does not change from run to run: no times, memory, dates, run ids.

    The verdict on cost rests on seconds, so it is left out too.
    """
    if isinstance(content, dict):
        return {key: lasting(value) for key, value in content.items() if not _passes(key)}
    if isinstance(content, list):
        return [lasting(value) for value in content if not _is_of_cost(value)]
    return content


def _passes(key: str) -> bool:
    of_time = "second" in key or "memory" in key or key.endswith(("_s", "_mb"))
    return of_time or "date" in key or key == "run_id"


def _is_of_cost(value: Any) -> bool:
    return isinstance(value, dict) and value.get("target") == "cost"


def differences(one: Any, other: Any) -> list[str]:
    """Where two results.json differ in what lasts, as dotted keys."""
    tables = (pd.json_normalize(lasting(content)).T[0].map(repr) for content in (one, other))
    left, right = next(tables), next(tables)
    both = pd.concat([left, right], axis=1)
    return [str(key) for key in both.index[both.iloc[:, 0] != both.iloc[:, 1]]]


def faults_of(out: Path, undisturbed: Path) -> list[str]:
    """What is wrong with an ablation that has ended, beside one that was never disturbed."""
    results, expected = (json.loads((o / "results.json").read_text()) for o in (out, undisturbed))
    found, there = contents(out), contents(undisturbed)
    wrong = [f"results.json differs at {at}" for at in differences(results, expected)]
    wrong += [f"{content} is there {n} times" for content, n in found.items() if n != 1]
    if found.keys() != there.keys():
        wrong.append(f"other runs: {sorted(found.keys() ^ there.keys())}")
    return wrong + [f"{name} is RUNNING" for name in still_running(out)]


def contents(out: Path) -> Counter[tuple[str, ...]]:
    """How often each result is in an ablation's store; results that count no more left out."""
    from qa_core.records.schema import Kind
    from qa_core.records.tracking import Tracker

    names = ("mode", "trial", "setting", "split", "seed", "reference")
    tracker = Tracker.open(out)
    return Counter(
        (kind, *(run.data.tags.get(name, "") for name in names))
        for kind in (Kind.TRIAL, Kind.CONFIRMATION, Kind.REFERENCE, Kind.MODE, Kind.ABLATION)
        for run in tracker.runs(kind)
    )


def still_running(out: Path) -> list[str]:
    """Names of runs that have not ended."""
    from qa_core.records.tracking import Tracker

    return [str(run.info.run_name) for run in Tracker.open(out).running()]


def ablation_command(out: Path, *flags: str) -> list[str]:
    """The command of an ablation in a folder."""
    return [sys.executable, "-m", "experiments.ablation", "--out", str(out), *flags]


def attack(
    command: list[str],
    log: Path,
    rng: np.random.Generator,
    strikes: int,
    span_s: float,
    between: Callable[[], str] = str,
) -> list[str]:
    """Strike a command at random moments, resumed each time, then let it end.

    Args:
        command: The command.
        log: Where its output goes.
        rng: Draws target, signal and moment.
        strikes: How many at most; it may end before.
        span_s: Moments are drawn from so many seconds after the start.
        between: Called before the command is resumed; says what is wrong, or nothing.

    Returns:
        A line a strike: moment, signal, target, outcome.
    """
    told: list[str] = []
    session = Session(command, log)
    while len(told) < strikes:
        target, number = BLOWS[rng.integers(len(BLOWS))]
        if not session.lasts(rng.uniform(0.5, span_s)):
            break
        after_s = time.monotonic() - session.started
        struck = session.strike(target, number)
        wrong = "" if struck == "worker" else session.end(number) or between()
        told.append(f"{after_s:6.1f} s  {number.name:8} {struck:7} {wrong or 'survived'}")
        print(told[-1], flush=True)
        if struck != "worker":
            session = Session(command, log)
    code = session.driver.wait()
    if code:
        told.append(f"the command ended with status {code}:\n{log.read_text()[-2000:]}")
        print(told[-1], flush=True)
    return told


def _changes(
    command: list[str], out: Path, inputs: Path, rng: np.random.Generator
) -> Callable[[], str]:
    """Tries the command with a changed input, where an ablation has begun in its folder."""

    def between() -> str:
        if not (out / "mlflow.db").is_file() or not contents(out)["ablation", *[""] * 6]:
            return ""
        what = str(rng.choice(list(CHANGES)))
        print(f"          a changed {what}", flush=True)
        return refuses(command, inputs, what)

    return between


def _long_folder(folder: Path) -> str:
    """A folder for temporary files that holds no sockets, so that workers are spawned."""
    long = folder / ("long" * 30)
    long.mkdir()
    return str(long)


def main() -> None:
    """Run the soak; exit status 1 where anything went wrong."""
    args = tyro.cli(Soak, description=__doc__)
    rng = np.random.default_rng(args.seed)
    print(f"seed {args.seed}: {args.strikes} strikes at make ablation PROFILE={args.profile}")
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        folder = Path(scratch)
        if args.spawn:
            os.environ["TMPDIR"] = _long_folder(folder)
        flags = ["--profile", args.profile]
        if args.changes:
            (inputs := folder / "inputs").mkdir()
            flags += write_inputs(inputs)
        command = ablation_command(folder / "undisturbed", *flags)
        started = time.monotonic()
        assert Session(command, folder / "log").driver.wait() == 0, (folder / "log").read_text()
        span_s = time.monotonic() - started
        print(f"undisturbed: {span_s:.0f} s", flush=True)
        told, wrong, studies = [], [], 0
        while len(told) < args.strikes:
            out = folder / f"study{studies}"
            command = ablation_command(out, *flags)
            left = min(STRIKES_A_STUDY, args.strikes - len(told))
            between = _changes(command, out, folder / "inputs", rng) if args.changes else str
            told += attack(command, folder / "log", rng, left, span_s / 2, between)
            faults = faults_of(out, folder / "undisturbed")
            studies += 1
            print(f"study {studies}: {'; '.join(faults) or 'equal, nothing twice, none RUNNING'}")
            wrong += faults
    wrong += [line for line in told if not line.endswith("survived")]
    print(f"{len(told)} strikes at {studies} studies, {len(wrong)} things wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
