"""One command on an ablation: it marks the parent runs RUNNING, and ends them when it ends."""

import contextlib
import time
from collections.abc import Iterator

from qa_core.errors import UserError
from qa_core.records.schema import PARENT_KINDS, Tag
from qa_core.records.tracking import Tracker, as_metrics
from studies import parent_runs
from studies.board import Board
from studies.engine.interface import machine_fault
from studies.space import ModeSpace


@contextlib.contextmanager
def open_session(tracker: Tracker, spaces: dict[str, ModeSpace]) -> Iterator[dict[str, str]]:
    """A context with the parent runs marked RUNNING; gives the run ids of the modes."""
    started, ablation_id = time.monotonic(), tracker.ablation_id
    assert ablation_id is not None
    tracker.close_orphans()
    tracker.reopen(ablation_id)
    try:
        yield {mode: parent_runs.open_mode_run(tracker, s) for mode, s in spaces.items()}
    except BaseException:
        with contextlib.suppress(Exception):  # where the store itself has failed
            _close(tracker, "KILLED", time.monotonic() - started)
        raise
    _close(tracker, "FINISHED", time.monotonic() - started)


def _close(tracker: Tracker, status: str, wall_s: float) -> None:
    ablation_id = tracker.ablation_id
    assert ablation_id is not None
    before = tracker.client.get_run(ablation_id).data.metrics.get("wall_s", 0.0)
    tracker.log(ablation_id, metrics=as_metrics({"wall_s": before + wall_s}))
    tracker.close_orphans()
    close_parents(tracker, status)


def close_parents(tracker: Tracker, status: str) -> None:
    """End the ablation's run, its modes' and its studies', as far as they are open."""
    for run in tracker.running():
        if run.data.tags[Tag.KIND] in PARENT_KINDS:
            tracker.client.set_terminated(run.info.run_id, status)


@contextlib.contextmanager
def ends_told(place: str, board: Board) -> Iterator[None]:
    """Say in a sentence why a command stopped early, and how to go on.

    Raises:
        UserError: Disk or stores failed, ours or a worker's.
        KeyboardInterrupt: Somebody interrupted it.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{board.kept_words()} in {place}; the same command goes on"
        ) from None
    except Exception as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        raise UserError(
            f"The machine failed, not the study: {fault}. {board.kept_words()} in {place}; once"
            " that is mended, the same command goes on."
        ) from error
