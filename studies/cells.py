"""The cells of the confirmation or of a designed study: find the finished, compute the others.

A cell is one setting of a mode on one split. It is done when a finished run with its identity
exists, so a cell that several studies contain is computed once.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from qa_core.errors import last_line
from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Kind, Tag, is_confirmation
from qa_core.targets import TARGETS
from studies.board import Board, on_a_fold, pool_row
from studies.confirmation import CellResult, ConfirmationWork, ModeSetting, is_settled
from studies.context import Context
from studies.engine.interface import Engine, Job, Outcome, collect
from studies.space import expected_cost

if TYPE_CHECKING:
    from mlflow.entities import Run

Cells = dict[str, ConfirmationWork]
"""Cells by identity, so that equal ones are there once."""


def cells_of(settings: Iterable[ModeSetting], count: int, context: Context) -> Cells:
    """The cells of these settings on the first splits (or folds of the pool)."""
    cells: Cells = {}
    for setting in settings:
        for split in range(count):
            work = ConfirmationWork(setting, split)
            cells.setdefault(work.identity(context), work)
    return cells


def run_cells(cells: Cells, context: Context, engine: Engine, board: Board) -> int:
    """Compute the cells that no finished run has; returns how many failed and may be tried again.

    A cell that diverged would do so again: it stays failed, and is not tried a second time.
    """
    done, failures = _earlier(cells, context)
    todo = {_job_name(work): identity for identity, work in cells.items() if identity not in done}
    jobs = [_job(cells[identity], context) for identity in todo.values()]
    totals = Counter((_row(work.setting), work.setting.mode) for work in cells.values())
    for (row, mode), total in totals.items():
        left = [job.cost for job in jobs if job.name.startswith(f"{row} {mode} ")]
        board.expect(row, mode, total, total - len(left), sum(left))
    for job in jobs:
        engine.submit(job)
    failed = 0
    for outcome in collect(engine, len(jobs)):
        failed += outcome.error is not None
        context.tracker.retire(failures[todo[outcome.job.name]])  # this outcome counts instead
        _ended(outcome, context, board)
    return failed


def _earlier(cells: Cells, context: Context) -> tuple[set[str], "dict[str, list[Run]]"]:
    """Identities that need no work, and earlier failures of the others."""
    settled: set[str] = set()
    failures: dict[str, list[Run]] = defaultdict(list)
    for kind in {work.setting.kind for work in cells.values()}:
        for run in context.tracker.runs(kind):
            identity = run.data.tags.get(Tag.IDENTITY, "")
            if is_settled(run):
                settled.add(identity)
            elif run.info.status == "FAILED":
                failures[identity].append(run)
    return settled, failures


def _ended(outcome: Outcome, context: Context, board: Board) -> None:
    work, result = outcome.job.work, outcome.value
    assert isinstance(work, ConfirmationWork)
    if outcome.error is not None:
        context.tracker.write(work.failed_record(context, outcome.error))
        board.ended(outcome, f"failed: {last_line(outcome.error)}", failed=True)
        return
    assert isinstance(result, CellResult)
    if result.diverged is not None:
        board.ended(outcome, f"diverged: {result.diverged}", failed=True)
        return
    selection = result.metrics["best_selection"]
    words = on_a_fold(selection) if work.setting.on_pool else _srocc_words(result.metrics)
    board.ended(outcome, words, selection)


def adopt_cells(cells: Cells, context: Context) -> None:
    """Hand cells that a study computed to the confirmation; the study still lists them."""
    done = context.tracker.finished(Kind.CONFIRMATION)
    for identity in cells.keys() & done.keys():
        run, work = done[identity], cells[identity]
        if not is_confirmation(run):
            context.tracker.client.update_run(run.info.run_id, name=work.name)
            tags = work.tags(identity) | {Tag.PARENT: work.setting.parent}
            context.tracker.log(run.info.run_id, tags=tags)


def _job(work: ConfirmationWork, context: Context) -> Job:
    setting = work.setting
    images = len(setting.split(work.split, context).train)
    cost = expected_cost(setting.config, context.workspace.spec, images)
    return Job(_job_name(work), work, cost)


def _job_name(work: ConfirmationWork) -> str:
    setting = work.setting
    return f"{_row(setting)} {setting.mode} {setting.name} {work.split}{setting.of_seed}"


def _row(setting: ModeSetting) -> str:
    """Where the board counts its cells."""
    return pool_row(setting.study) if setting.on_pool else setting.study


def _srocc_words(metrics: dict[str, float]) -> str:
    found = [
        f"{target.letter} {metrics[SROCC.logged(target)]:.3f}"
        for target in TARGETS
        if SROCC.logged(target) in metrics
    ]
    return "test SROCC " + ", ".join(found)
