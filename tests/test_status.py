"""The state of an ablation as another process sees it, by what MLflow holds."""

import json
import os
import shutil
import socket
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console

from experiments.status import driver_words, table_of
from qa_core.records.schema import Kind
from qa_core.records.study_listing import StudyListing, StudyPoint
from qa_core.records.tracking import RunRecord, Tracker
from studies.board import Board
from studies.sign_of_life import TAG, Sign, read_sign, signs_of_life
from studies.state import AblationState, Row, read_states


@pytest.fixture(scope="module")
def tracker(created_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    """An ablation in the middle of its work, its driver this process."""
    folder = tmp_path_factory.mktemp("status")
    shutil.copy(created_store / "mlflow.db", folder)
    whole = Tracker.open(folder)
    params = {"n_splits": 2, "n_trials": 3}
    ablation = whole.start(RunRecord("a table smoke", Kind.ABLATION, params=params))
    whole.log(ablation, tags={"ablation_id": ablation})
    tracker = whole.of_ablation(ablation)
    tags = {"mode": "residual", "tuned_is_guide": "false"}
    tracker.start(RunRecord("residual", Kind.MODE, ablation, tags))
    for number, (state, status) in enumerate(
        (("COMPLETE", "FINISHED"), ("PRUNED", "KILLED"), ("FAIL", "FAILED"))
    ):
        tags = {"mode": "residual", "trial": str(number), "state": state}
        metrics = {"objective": 0.5 + number / 10}
        tracker.write(RunRecord("t", Kind.TRIAL, ablation, tags, metrics=metrics, status=status))
    cell = {"mode": "residual", "study": "scale", "setting": "s", "identity": "a"}
    tracker.write(RunRecord("c", Kind.CONFIRMATION, tags=cell, metrics={"best_selection": 0.7}))
    point = StudyPoint("residual", {"scale": 0.1}, 1.0, 1e-4, pool=None, cells=("a", "b"))
    tags = {"study": "scale"} | StudyListing(2, 3, 0.9, (point,)).to_tags()
    tracker.start(RunRecord("study scale", Kind.STUDY, ablation, tags))
    running = ("confirm residual guide 0", "confirm residual tuned 1")
    sign = Sign(socket.gethostname(), os.getpid(), time.time(), running, ", 8 s left")
    tracker.log(ablation, tags={TAG: json.dumps(asdict(sign))})
    return whole


@pytest.fixture(scope="module")
def state(tracker: Tracker) -> AblationState:
    (state,) = read_states(tracker)
    return state


def test_every_study_is_counted_by_mode(state: AblationState) -> None:
    rows = {(row.study, row.mode): row for row in state.rows}
    tune, confirm, scale = (rows[name, "residual"] for name in ("tune", "confirm", "scale"))
    assert (tune.done, tune.total, tune.failed, tune.pruned, tune.best) == (2, 3, 1, 1, 0.5)
    assert (confirm.done, confirm.total, confirm.running) == (0, 4, 2)
    assert (scale.done, scale.total, scale.best) == (1, 2, 0.7)


def test_a_driver_is_alive_as_long_as_its_process_or_its_signs_are(state: AblationState) -> None:
    now = time.time()
    assert state.is_alive and not state.complete
    assert not Sign(socket.gethostname(), 2**22 + 1, now).is_alive
    assert Sign("elsewhere", 1, now - 20).is_alive
    assert not Sign("elsewhere", 1, now - 3600).is_alive


def test_it_is_told_to_people(state: AblationState) -> None:
    words = driver_words(state, Path("runs/a"))
    assert f"driven by process {os.getpid()}" in words
    assert words.endswith("running: confirm residual guide 0, confirm residual tuned 1, 8 s left")
    longest = Row("batch_size", "residual_partial_freeze", 160, 160, 2, 10, 10, 0.123)
    console = Console(width=80)
    with console.capture() as shown:
        console.print(table_of(replace(state, rows=(*state.rows, longest))))
    assert "…" not in shown.get() and max(map(len, shown.get().splitlines())) <= 80


def test_the_driver_signs_while_it_works(tracker: Tracker) -> None:
    (run,) = tracker.runs(Kind.ABLATION)
    mine, board = tracker.of_ablation(run.info.run_id), Board(Console(quiet=True))
    before = time.time()
    with signs_of_life(mine, board):
        pass
    sign = read_sign(tracker.runs(Kind.ABLATION)[0].data.tags[TAG])
    assert sign is not None and sign.at_s >= before
    assert (sign.process, sign.running) == (os.getpid(), ())
