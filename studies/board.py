"""The progress display of studies: a live table on a terminal, elsewhere a line per event."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from qa_core.command_line import heed_signals
from qa_core.errors import visible
from studies.engine.interface import Engine, Outcome

NOTE_EVERY_S = 10.0


@dataclass
class _Row:
    total: int
    done: int
    cost_left: float
    failed: int = 0
    best: float | None = None


def count_table(counts: Sequence[str]) -> Table:
    """An empty table of studies and modes with these counts, narrow enough for 80 columns."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption_justify="left")
    for name in ("study", "mode"):
        table.add_column(name, no_wrap=True)
    for name in counts:
        table.add_column(name, justify="right")
    return table


def pool_row(study: str) -> str:
    """Name of the row that counts what a study runs on the tuning pool."""
    return f"{study}-pool"


def on_a_fold(srocc: float) -> str:
    """A score on the tuning pool, in words: validation SROCC, mean of the targets."""
    return f"SROCC {srocc:.4f} on a fold of the tuning pool"


class Board:
    """Progress of all studies; a context manager.

    Job names start with study and mode (`tune residual 3`), which say the row of an outcome.
    """

    def __init__(self, console: Console | None = None):
        self._console = console or Console(soft_wrap=True, highlight=False, markup=False)
        self._rows: dict[tuple[str, str], _Row] = {}
        self._engine: Engine | None = None
        self._spent_s = self._spent_cost = 0.0
        self._note, self._noted = "", time.monotonic()
        live = self._console.is_terminal
        self._live = Live(self, console=self._console, refresh_per_second=2) if live else None

    def __enter__(self) -> "Board":
        """Show the table where there is a terminal."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state of the table on the screen."""
        if self._live is not None:
            self._live.stop()

    def watch(self, engine: Engine) -> None:
        """Show which jobs this engine runs."""
        self._engine = engine

    @property
    def running(self) -> list[str]:
        """Names of the jobs that run now."""
        return [] if self._engine is None else self._engine.running

    def note(self, text: str) -> None:
        """Show a passing remark: in the table, or as a line now and then."""
        self._note = text
        if self._live is None and time.monotonic() - self._noted > NOTE_EVERY_S:
            self.say(text)

    def say(self, text: str) -> None:
        """One line, with the time."""
        heed_signals()
        self._note, self._noted = "", time.monotonic()
        self._console.print(visible(f"{time.strftime('%H:%M:%S')}  {text}"))

    def kept_words(self) -> str:
        """How much is done so far."""
        done, total = (sum(getattr(r, n) for r in self._rows.values()) for n in ("done", "total"))
        return f"{done} of {total} results so far are kept" if total else "what is there is kept"

    def expect(self, study: str, mode: str, total: int, done: int, cost_left: float) -> None:
        """Announce a study of a mode: its jobs, those done earlier, the expected effort left."""
        self._rows[study, mode] = _Row(total, done, cost_left)

    def ended(
        self, outcome: Outcome, text: str, value: float | None = None, failed: bool = False
    ) -> None:
        """Count a job that has ended and print a line; the row shows the best `value` so far."""
        study, mode, *_ = outcome.job.name.split(" ")
        row = self._rows[study, mode]
        row.done += not failed
        row.failed += failed
        row.cost_left = max(0.0, row.cost_left - outcome.job.cost)
        if value is not None and (row.best is None or value > row.best):
            row.best = value
        self._spent_s += outcome.wall_s
        self._spent_cost += outcome.job.cost
        count = f"{row.done + row.failed}/{row.total}"
        self.say(f"{outcome.job.name}: {text}  [{count}, {outcome.wall_s:.0f} s{self.time_left()}]")

    def time_left(self) -> str:
        """Time left by the pace so far, in words after a comma; nothing where it is not known."""
        if self._engine is None or not self._spent_cost:
            return ""
        cost = sum(row.cost_left for row in self._rows.values())
        seconds = cost * self._spent_s / self._spent_cost / self._engine.workers
        words = f"about {seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
        return f", {words} left"

    def __rich__(self) -> Table:
        """The table as it is now."""
        running = self.running
        caption = f"running: {', '.join(running)}{self.time_left()}" if running else self._note
        table = count_table(("done", "running", "failed", "of", "best\nSROCC"))
        table.caption = caption
        for (study, mode), row in self._rows.items():
            now = sum(name.startswith(f"{study} {mode} ") for name in running)
            best = "" if row.best is None else f"{row.best:.3f}"
            counts = (row.done, now, row.failed, row.total)
            table.add_row(study, mode, *map(str, counts), best)
        return table
