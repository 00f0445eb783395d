"""A whole ablation with real processes, struck by every fault there is, then finished."""

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import FinishedAblation

from benchmarks.soak import Session, ablation_command, faults_of

SEED = 20
ENOUGH = "256m"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path | None]:
    """A small disk of its own as `out`, or None where nothing may be mounted."""
    out = tmp_path / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ENOUGH}", "tmpfs", str(out)]
    may = os.geteuid() == 0 and shutil.which("mount") is not None
    mounted = may and not subprocess.run(mount, capture_output=True).returncode
    yield out if mounted else None
    if mounted:
        subprocess.run(["umount", "--lazy", str(out)], check=True)


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    """No byte is left on a disk meanwhile."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(2**16)):
            pass
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another program holds a database meanwhile."""
    holder = sqlite3.connect(database, timeout=60)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        holder.rollback()
        holder.close()


def last_words(session: Session) -> str:
    """What an ablation says that ends because the machine failed."""
    assert session.driver.wait(300) == 2, session.log.read_text()
    said = session.log.read_text()
    assert "Traceback" not in said
    return said.splitlines()[-1]


def test_an_ablation_struck_by_every_fault_ends_as_an_undisturbed_one(
    finished_ablation: FinishedAblation, disk: Path | None, tmp_path: Path
) -> None:
    rng = np.random.default_rng(SEED)
    out = tmp_path / "out"
    command = [*ablation_command(out, *finished_ablation.flags), "--workers", "1"]

    def session(until: str) -> Session:
        """The command at work, at a random moment after it has said this."""
        begun = Session(command, tmp_path / "log")
        begun.wait_for_line(until)
        assert begun.lasts(rng.uniform(0, 1))
        return begun

    interrupted = session("planning")
    interrupted.strike("all", signal.SIGINT)
    assert interrupted.end(signal.SIGINT) == ""
    assert f"is kept in {out}; the same command goes on" in interrupted.log.read_text()

    if disk is not None:
        short_of_room = session("reference rows")
        with full(disk):
            assert "The machine failed, not the study" in last_words(short_of_room)

    struck = session(" tune ")
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert f"An ablation (process {struck.driver.pid}) is at work in {out}" in second.stderr
    struck.strike("worker", signal.SIGKILL)
    assert struck.lasts(rng.uniform(0, 1))
    struck.strike("driver", signal.SIGKILL)
    assert struck.end(signal.SIGKILL) == ""

    with_lock = session("opening")
    with_lock.wait_for_line("prompts; protocol")
    with locked(out / "mlflow.db"):
        assert "database is locked" in last_words(with_lock)

    killed = session(" confirm ")
    killed.strike("all", signal.SIGKILL)
    assert killed.end(signal.SIGKILL) == ""

    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stdout + last.stderr
    assert " tune " not in last.stdout
    assert faults_of(out, finished_ablation.out) == []
    if disk is None:
        pytest.skip("all but the full disk: nothing may be mounted here")


def test_too_little_address_space_is_told(small_table: Path, tmp_path: Path) -> None:
    words = ["experiments.baseline", "--data_csv_path", str(small_table), "--threads", "1"]
    words += ["--output_dir", str(tmp_path), "--cache_dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", *words],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9)),
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "The memory does not suffice" in done.stderr and "Traceback" not in done.stderr
