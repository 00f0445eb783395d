"""Parts of `make bench` that no other test runs, on as little as they need."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import growth, many_runs, waiting
from qa_core.records.schema import Kind, Tag
from qa_core.records.tracking import RunRecord, Tracker


def test_one_image_a_call_is_held_against_all_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "SCORED", 10)
    found = waiting.scorer_ratio(tmp_path)["scorer"]
    assert len(found["repeats"]) == 3 and min(found["seconds"]) > 0


def test_growth_is_told_by_number_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "MANY", (20,))
    (row,) = growth.many_images(tmp_path).values()
    assert set(row) >= {"decode_s", "first_pass_s", "partial_epoch_s", "probe_epoch_s"}
    assert 0 < row["cache_gb"] < 1


def test_copied_trials_are_runs_of_their_own(created_store: Path, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes((created_store / "mlflow.db").read_bytes())
    tracker = Tracker.open(tmp_path)
    for number in range(2):
        tags = {Tag.IDENTITY: f"trial {number}", Tag.TRIAL: str(number)}
        tracker.write(
            RunRecord(f"trial {number}", Kind.TRIAL, tags=tags, metrics={"objective": 0.5})
        )
    many_runs.copy_trials(tmp_path, 7)
    runs = tracker.runs(Kind.TRIAL)
    assert len({run.data.tags[Tag.IDENTITY] for run in runs}) == 7
    assert {run.data.tags[Tag.TRIAL] for run in runs} == {str(k) for k in range(7)}
    assert all(run.data.metrics == {"objective": 0.5} for run in runs)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        assert store.execute("select count(*) from metrics").fetchone() == (7,)
