"""A whole ablation on two Ray nodes, PostgreSQL and an MLflow server, disturbed on its way."""

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import FinishedAblation

from benchmarks.soak import ablation_command
from qa_core.arms import CONTROLS, MODES
from qa_core.errors import UserError
from qa_core.records.schema import Kind
from qa_core.records.tracking import Tracker
from studies.engine.processes import in_environment
from studies.stores import sole_session

ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
os.environ.update(ON_LOOPBACK)  # Ray reads it on import
pytest.importorskip("ray", reason="ray is not installed (make setup installs it)")
psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed (make setup installs it)")

from ray.cluster_utils import Cluster  # noqa: E402

PASSWORD = "not/for@print"
MARK = "QA_CLUSTER_TEST"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def postgres_binary(name: str) -> str:
    """A program of PostgreSQL's, on the path or where Debian keeps it."""
    found = [shutil.which(name), *map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
    found = [path for path in found if path]
    if not found:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    return found[0]


@pytest.fixture
def database() -> Iterator[str]:
    """HOST:PORT of a PostgreSQL with the databases mlflow and optuna and a user qa."""
    initdb, pg_ctl, port = postgres_binary("initdb"), postgres_binary("pg_ctl"), free_port()
    user = "nobody" if os.getuid() == 0 else None  # the server refuses root
    with tempfile.TemporaryDirectory(prefix="qa-pg-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        (folder / "password").write_text(PASSWORD)
        if user is not None:
            for path in (folder, folder / "password"):
                os.chown(path, pwd.getpwnam(user).pw_uid, -1)

        def run(*words: str) -> None:
            done = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
            subprocess.run(words, check=True, user=user, **done)  # type: ignore[call-overload]

        data = str(folder / "data")
        word = f"--pwfile={folder / 'password'}"
        run(initdb, "-D", data, "-U", "qa", "--auth=scram-sha-256", word, "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
        run(pg_ctl, "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            with psycopg.connect(
                host="127.0.0.1", port=port, user="qa", password=PASSWORD, dbname="postgres"
            ) as session:
                session.autocommit = True
                for name in ("mlflow", "optuna"):
                    session.execute(f"CREATE DATABASE {name}")
            yield f"127.0.0.1:{port}"
        finally:
            run(pg_ctl, "-D", data, "-m", "immediate", "-w", "stop")


@pytest.fixture
def server(database: str, tmp_path: Path) -> Iterator[str]:
    """Address of an MLflow server on that database, which passes artifacts on."""
    address = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    command += ["--port", address.rpartition(":")[2]]
    command += ["--backend-store-uri", f"postgresql+psycopg://qa@{database}/mlflow"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts")]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = (tmp_path / "server.log").open("w")
    process = subprocess.Popen(
        command,
        env=os.environ | quiet | {"PGPASSWORD": PASSWORD},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            assert process.poll() is None, (tmp_path / "server.log").read_text()[-2000:]
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    small = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    with in_environment({MARK: str(tmp_path)}):
        cluster = Cluster(initialize_head=True, head_node_args=small | {"include_dashboard": False})
        cluster.add_node(**small)  # type: ignore[arg-type]
    yield cluster
    cluster.shutdown()


def busy_workers(mark: str) -> list[int]:
    """Process ids of this cluster's workers that run a job."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            running = (process / "cmdline").read_bytes().startswith(b"ray::_Server.run")
            if running and f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def settled(content: Any) -> Any:
    """Results without times, memory, dates, ids and where they were computed."""
    if isinstance(content, list):
        return [settled(one) for one in content]
    if not isinstance(content, dict):
        return content
    passing = re.compile("second|memory|workers|machine|cheapest|(_s|_mb|_id)$")
    return {k: settled(v) for k, v in content.items() if not passing.search(k)}


def results(out: Path) -> dict[str, Any]:
    content = settled(json.loads((out / "results.json").read_text()))
    content["claims"] = [c for c in content["claims"] if "cheap" not in c["id"]]  # rests on seconds
    return content


def differing(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two results differ, and how."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [line for k in one for line in differing(one[k], other[k], f"{place}/{k}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for i, pair in pairs for line in differing(*pair, f"{place}/{i}")]
    return [] if one == other else [f"{place}: {one} is not {other}"]


def test_a_disturbed_cluster_gives_what_one_machine_gives(
    finished_ablation: FinishedAblation,
    tmp_path: Path,
    database: str,
    server: str,
    cluster: Cluster,
) -> None:
    far = tmp_path / "far"
    command = ablation_command(far, *finished_ablation.flags)
    command += ["--engine", "ray", "--tracking_uri", server]
    secret = quote(PASSWORD, safe="")
    storage = f"postgresql://qa:{secret}@{database}/optuna"
    command += ["--optuna_storage", storage]
    process = subprocess.Popen(
        command,
        env=os.environ | ON_LOOPBACK | {"RAY_ADDRESS": str(cluster.address)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    shown, trials, killed = "", 0, []
    for line in process.stdout:
        shown += line
        trials += " tune " in line
        if trials == 1 and not killed:
            killed = busy_workers(str(tmp_path))[:1]
            for worker in killed:
                os.kill(worker, signal.SIGKILL)
            with (
                in_environment({"PGPASSWORD": PASSWORD}),
                pytest.raises(UserError, match="at work"),
            ):
                with sole_session(f"postgresql://qa@{database}/optuna", "far"):
                    pass
        if trials == 3 and len(cluster.list_all_nodes()) == 2:
            cluster.remove_node(cluster.list_all_nodes()[1], allow_graceful=False)
    assert process.wait() == 0, shown
    assert killed and len(cluster.list_all_nodes()) == 1
    assert differing(results(far), results(finished_ablation.out)) == []

    tracker = Tracker.open(far, server)
    assert not tracker.running()
    found = Counter(
        (kind, *(run.data.tags.get(name, "") for name in ("mode", "trial", "setting", "split")))
        for kind in (Kind.TRIAL, Kind.CONFIRMATION, Kind.MODE, Kind.ABLATION)
        for run in tracker.runs(kind)
    )
    assert set(found.values()) == {1}
    assert sum(one[0] == "trial" for one in found) == 2 * len(MODES | CONTROLS)
    assert not (far / "mlflow.db").exists() and not (far / "optuna.db").exists()
    everything = tracker.client.search_runs([tracker.experiment_id])
    kept = [json.dumps(dict(run.data.params) | run.data.tags) for run in everything]
    kept += [file.read_text(errors="replace") for file in far.rglob("*") if file.is_file()]
    assert not any(word in text for word in (PASSWORD, secret) for text in (shown, *kept))
