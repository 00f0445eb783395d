"""MLflow's pages on an ablation, with links to prepared views."""

import contextlib
import os
import subprocess
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.cli.server_process import (
    HOST,
    check_port,
    end_on_ctrl_c,
    server_running,
    wait_for_the_end,
)
from qa_core import command_line as cli
from qa_core.errors import UserError
from qa_core.system.files import sqlite_address


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
    end_on_ctrl_c()
    check_port(args.port, "ui")
    shown = publish_links(args.out, f"http://{HOST}:{args.port}")
    with serving(args.out, args.port) as server:
        for what, link in shown.items():
            print(f"{what:14}{link}")
        if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
            webbrowser.open(next(iter(shown.values())))
        wait_for_the_end(server, _log_file(args.out))
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


@contextlib.contextmanager
def serving(out: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server on a folder's store, once it answers; ended on the way out.

    Raises:
        UserError: It did not start.
    """
    words = ["mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", sqlite_address(out / "mlflow.db")]
    words += ["--default-artifact-root", (out.resolve() / "artifacts").as_uri()]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    health = f"http://{HOST}:{port}/health"
    with server_running(words, settings, _log_file(out), health) as server:
        yield server


def _log_file(out: Path) -> Path:
    return out / "mlflow-server.log"


if __name__ == "__main__":
    cli.run(main)
