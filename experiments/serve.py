"""The champion of an ablation, answering requests on this machine."""

from dataclasses import dataclass, field
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
from qa_core.system.processes import usable_cores

MOST_WORKERS = 8
"""Unless more are asked for: memory grows with them."""
PATIENCE_S = 60.0
"""What it was asked is answered for so long after Ctrl-C."""
CARD = Path("/dev/nvidiactl")


def default_workers() -> int:
    """One a core, at most eight; one where there is a card, which each would fill with a model."""
    return 1 if CARD.exists() else min(MOST_WORKERS, usable_cores())


@dataclass(frozen=True)
class ServeArgs:
    """Serve the champion of an ablation in MLflow's formats, on this machine only."""

    out: Path = Path("runs/ablation")
    """Folder of the ablation."""
    port: int = 5001
    """Port to listen on."""
    workers: int = field(default_factory=default_workers)
    """Processes that answer, each with the whole model; by default one a core, at most 8, and one
    where there is a card."""
    debug: bool = False
    """Show the traceback of an error as well."""


def main() -> None:
    """Parse the command line, serve until Ctrl-C."""
    args = cli.parse(ServeArgs, str(ServeArgs.__doc__))
    end_on_ctrl_c()
    check_port(args.port, "serve")
    if args.workers < 1:
        raise UserError(f"--workers {args.workers} is less than 1.")
    if not (args.out / "mlflow.db").is_file():
        raise UserError(
            f"There is no mlflow.db in {args.out}: run make ablation OUT={args.out} first."
        )
    from qa_core.records.schema import CARD_FILE
    from qa_core.serving.champion import champion_folder

    folder = champion_folder(args.out)
    base, log = f"http://{HOST}:{args.port}", args.out / "served-model.log"
    words = ["qa_core.serving.server", str(folder), HOST, str(args.port), str(args.workers)]
    with server_running(words, {}, log, f"{base}/ping", PATIENCE_S) as server:
        print(f"scores      POST {base}/invocations (docs/data.md shows a request)")
        print(f"model card  {args.out / CARD_FILE}")
        wait_for_the_end(server, log)
    print("closed")


if __name__ == "__main__":
    cli.run(main)
