"""What an ablation costs to report, show and resume as MLflow holds more runs of it.

The runs are those of a real smoke ablation, its tuning trials copied until there are so many.
"""

import itertools
import sqlite3
import sys
import uuid
from contextlib import closing
from pathlib import Path

from benchmarks.sides import timed
from benchmarks.soak import ablation_command
from benchmarks.waiting import seconds_of
from qa_core.records.schema import Kind, Tag
from qa_core.records.tracking import Tracker
from reports.mlflow_pages.overview import publish

RUNS = (100, 1_000, 10_000)
_COPIED = ("params", "tags", "metrics", "latest_metrics")


def many_runs(scratch: Path) -> dict[int, dict[str, float]]:
    """Seconds of each command on an ablation that has ended, by its number of runs."""
    out, found = scratch / "out", {}
    again = ablation_command(out, "--profile", "smoke", "--cache", str(scratch / "cache"))
    commands = {
        "report_s": [sys.executable, "-m", "reports.build", "--out", str(out)],
        "status_s": [sys.executable, "-m", "experiments.status", "--out", str(out)],
        "resume_s": again,
    }
    seconds_of(again)
    for count in RUNS:
        copy_trials(out, count)
        row = {"publish_s": timed(lambda: publish(Tracker.open(out), out))}
        row |= {name: seconds_of(words) for name, words in commands.items()}
        found[count] = row
        print(f"{count} runs: {row}", flush=True)
    return found


def copy_trials(out: Path, count: int) -> None:
    """Copy trials of a folder's store in turn, until it holds so many runs."""
    with closing(sqlite3.connect(out / "mlflow.db")) as store, store:
        there = store.execute("select count(*) from runs").fetchone()[0]
        trials = store.execute(
            "select run_uuid from tags where key = ? and value = ? order by run_uuid",
            (Tag.KIND, Kind.TRIAL),
        ).fetchall()
        for (trial,), number in zip(itertools.cycle(trials), range(there, count), strict=False):
            _copy(store, trial, number)


def _copy(store: sqlite3.Connection, run: str, number: int) -> None:
    """Copy a run as that trial of its mode, with an identity of its own."""
    new = uuid.uuid4().hex
    for table in ("runs", *_COPIED):
        columns = [row[1] for row in store.execute(f"pragma table_info({table})")]
        values = ", ".join("?" if name == "run_uuid" else f'"{name}"' for name in columns)
        store.execute(
            f"insert into {table} select {values} from {table} where run_uuid = ?", (new, run)
        )
    for tag, value in ((Tag.TRIAL, str(number)), (Tag.IDENTITY, new)):
        store.execute("update tags set value = ? where run_uuid = ? and key = ?", (value, new, tag))
