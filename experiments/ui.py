"""MLflow's pages on an ablation, with links to prepared views."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qa_core import command_line as cli
from qa_core.errors import UserError
from qa_core.system.files import sqlite_address

HOST = "127.0.0.1"
_START_LIMIT_S = 120


@dataclass(frozen=True)
class UiArgs:
    """Serve MLflow's pages on the runs of an ablation, on this machine only."""

    out: Path = Path("runs/ablation")
    """Folder of the ablation."""
    port: int = 5000
    """Port to listen on."""
    debug: bool = False
    """Show the traceback of an error as well."""


def main() -> None:
    """Parse the command line, serve until Ctrl-C."""
    args = cli.parse(UiArgs, str(UiArgs.__doc__))
    for number in (signal.SIGTERM, signal.SIGINT):  # the latter is ignored in a shell's background
        signal.signal(number, signal.default_int_handler)
    check_port(args.port)
    shown = publish_links(args.out, f"http://{HOST}:{args.port}")
    with serving(args.out, args.port) as server:
        for what, link in shown.items():
            print(f"{what:14}{link}")
        print("\nCtrl-C ends it.", flush=True)
        if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
            webbrowser.open(next(iter(shown.values())))
        with contextlib.suppress(KeyboardInterrupt):
            server.wait()
            raise UserError(f"MLflow's server ended; its last words are in {_log_file(args.out)}.")
    print("closed")


def publish_links(out: Path, base: str) -> dict[str, str]:
    """Update the pages; returns links by what they show.

    Raises:
        UserError: The folder holds no runs.
    """
    if not (out / "mlflow.db").is_file():
        raise UserError(f"There is no mlflow.db in {out}: run make ablation OUT={out} first.")
    from qa_core.records.tracking import Tracker
    from reports.mlflow_pages.overview import links, publish  # MLflow: --help must not wait

    tracker = Tracker.open(out)
    ablation = publish(tracker, out)
    if ablation is None:  # single runs of experiments/baseline.py
        return {"runs": f"{base}/#/experiments/{tracker.experiment_id}/runs"}
    return links(tracker, ablation, base)


def check_port(port: int) -> None:
    """Refuse a port that cannot be listened on.

    Raises:
        UserError: It is out of range, taken or forbidden.
    """
    if not 0 < port < 2**16:
        raise UserError(f"PORT={port} is no port: choose one from 1024 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"Port {port} cannot be used ({error.strerror}): perhaps another make ui is open."
                f" Close it, or choose another port, as in make ui PORT={_free_port()}."
            ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(out: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server on a folder's store, once it answers; ended on the way out.

    Raises:
        UserError: It did not start.
    """
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", sqlite_address(out / "mlflow.db")]
    command += ["--default-artifact-root", (out.resolve() / "artifacts").as_uri()]
    from qa_core.records.mlflow_store import settle_environment

    environment = dict(os.environ)
    settle_environment(environment)
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    with _log_file(out).open("wb") as log:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
        try:
            _wait_until_it_answers(server, out, port)
            yield server
        finally:
            _end(server)


def _wait_until_it_answers(server: subprocess.Popen[bytes], out: Path, port: int) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5).close()
            return
        time.sleep(0.2)
    raise UserError(f"MLflow's server did not start; {_log_file(out)} says why.")


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and the processes that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _log_file(out: Path) -> Path:
    return out / "mlflow-server.log"


if __name__ == "__main__":
    cli.run(main)
