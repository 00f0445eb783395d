"""Progress of an ablation, running here or elsewhere, or stopped."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qa_core import command_line as cli
from qa_core.errors import UserError, visible
from qa_core.system.files import sqlite_address

if TYPE_CHECKING:
    from rich.table import Table

    from studies.state import AblationState


@dataclass(frozen=True)
class StatusArgs:
    """Show the progress of an ablation. It only reads, so the ablation may be running."""

    out: Path = Path("runs/ablation")
    """Folder of the ablation."""
    tracking_uri: str | None = None
    """MLflow store or server (default: OUT/mlflow.db); on a server, the experiment has OUT's
    name."""
    debug: bool = False
    """Show the traceback of an error as well."""


def main() -> None:
    """Parse the command line, print the state of every ablation in the store."""
    args = cli.parse(StatusArgs, str(StatusArgs.__doc__))
    store = args.out / "mlflow.db"
    if args.tracking_uri is None and not store.exists():
        raise UserError(f"There is no {store}: no ablation was started in {args.out}.")
    from rich.console import Console

    from qa_core.records.mlflow_store import experiment_name
    from qa_core.records.tracking import Tracker  # MLflow: --help must not wait
    from studies.state import read_states

    console = Console(highlight=False, soft_wrap=True, markup=False)
    uri = args.tracking_uri or sqlite_address(store)
    for state in read_states(Tracker.at(uri, experiment_name(uri, args.out))):
        console.print(visible(f"{state.name}: {'complete' if state.complete else 'not complete'}"))
        console.print(visible(driver_words(state, args.out)))
        console.print(table_of(state))


def driver_words(state: "AblationState", out: Path) -> str:
    """Who drives the ablation, and when something happened last."""
    last = "no result yet" if state.last_s is None else f"last result {_ago(state.last_s)}"
    if state.sign is not None and state.is_alive:
        sign = state.sign
        words = f"driven by process {sign.process} on {sign.host}, heard of {_ago(sign.at_s)}"
        running = f"; running: {', '.join(sign.running)}" if sign.running else ""
        return f"{words}; {last}{running}{sign.left}"
    goes_on = "" if state.complete else f"; the same command goes on in {out}"
    return f"no driver at work; {last}{goes_on}"


def table_of(state: "AblationState") -> "Table":
    """A row a study and mode."""
    from studies.board import count_table

    table = count_table(("done", "of", "running", "failed", "pruned", "best\nSROCC"))
    for row in state.rows:
        total = "?" if row.total is None else str(row.total)
        best = "" if row.best is None else f"{row.best:.3f}"
        counts = (row.running, row.failed, row.pruned)
        table.add_row(row.study, row.mode, str(row.done), total, *map(str, counts), best)
    return table


def _ago(moment_s: float) -> str:
    seconds = max(0.0, time.time() - moment_s)
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


if __name__ == "__main__":
    cli.run(main)
