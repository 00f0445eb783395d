"""Runs in a real MLflow store: written in one go, found again, and closed when orphaned."""

import json
import shutil
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path

import pytest

from qa_core.records.mlflow_store import open_store
from qa_core.records.schema import Kind, Tag
from qa_core.records.single_run import SingleRun
from qa_core.records.tracking import RunRecord, Tracker, as_text


@pytest.fixture
def tracker(created_store: Path, tmp_path: Path) -> Tracker:
    shutil.copy(created_store / "mlflow.db", tmp_path / "mlflow.db")
    return Tracker.open(tmp_path)


def test_a_store_is_created_whole_and_only_once(created_store: Path) -> None:
    before = (created_store / "mlflow.db").stat().st_mtime_ns
    assert open_store(created_store) == f"sqlite:///{created_store / 'mlflow.db'}"
    assert (created_store / "mlflow.db").stat().st_mtime_ns == before
    assert not (created_store / "mlflow.db.new").exists()


def test_a_record_is_read_back_as_it_was_written(tracker: Tracker, tmp_path: Path) -> None:
    file = tmp_path / "predictions.csv"
    file.write_text("row,q\n1,0.5\n")
    record = RunRecord(
        name="residual guide split 0",
        kind=Kind.CONFIRMATION,
        parent="p",
        tags={"identity": "abc"},
        params={"lr": 1e-4, "fusion_inputs": ("img", "txt"), "lr_head": None, "amp": True},
        metrics={"test_srocc_quality": 0.1 + 0.2, "test_plcc_quality": float("nan")},
        undefined={"test_krocc_quality": "constant"},
        history=[
            {"val_srocc_quality": 0.1},
            {"val_srocc_quality": 0.2, "loss": 1.0, "test_srocc_quality": 9.0},
        ],
        artifacts=[(file, None)],
        started_s=1000.0,
    )
    run_id = tracker.write(record)
    run = tracker.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.start_time == 1_000_000
    assert run.data.tags["kind"] == "confirmation" and run.data.tags[Tag.PARENT] == "p"
    assert run.data.metrics["test_srocc_quality"] == 0.1 + 0.2
    assert "test_plcc_quality" not in run.data.metrics
    assert json.loads(run.data.tags["undefined"]) == {
        "test_krocc_quality": "constant",
        "test_plcc_quality": "not finite",
    }
    params = {"lr": "0.0001", "fusion_inputs": '["img", "txt"]', "lr_head": "", "amp": "True"}
    assert run.data.params == params
    history = tracker.client.get_metric_history(run_id, "val_srocc_quality")
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.1), (1, 0.2)]
    assert [item.path for item in tracker.client.list_artifacts(run_id)] == ["predictions.csv"]


def test_only_finished_runs_of_this_ablation_are_found(tracker: Tracker) -> None:
    mine, other = tracker.of_ablation("mine"), tracker.of_ablation("other")
    for name, status in (("done", "FINISHED"), ("broken", "FAILED"), ("pruned", "KILLED")):
        tags = {"identity": name}
        mine.write(RunRecord(name, Kind.CONFIRMATION, tags=tags, status=status))
    mine.start(RunRecord("open", Kind.CONFIRMATION, tags={"identity": "open"}))
    assert mine.finished(Kind.CONFIRMATION).keys() == {"done"}
    assert mine.find_finished(Kind.CONFIRMATION, "done") is not None
    assert mine.find_finished(Kind.CONFIRMATION, "open") is None
    assert other.finished(Kind.CONFIRMATION) == {}


def test_orphans_end_as_killed_and_are_no_results_any_more(tracker: Tracker) -> None:
    tracker = tracker.of_ablation("a")
    mode = tracker.start(RunRecord("residual", Kind.MODE))
    orphan = tracker.start(RunRecord("residual trial 0", Kind.TRIAL, tags={"state": "COMPLETE"}))
    assert tracker.close_orphans() == 1
    run = tracker.client.get_run(orphan)
    assert run.info.status == "KILLED" and run.data.tags["orphaned"] == "trial"
    assert tracker.runs(Kind.TRIAL) == []
    assert tracker.client.get_run(mode).info.status == "RUNNING"
    assert tracker.close_orphans() == 0


def test_many_metrics_take_several_calls_and_are_all_there(tracker: Tracker) -> None:
    history = [{f"m{k}": float(k) for k in range(30)} for _ in range(50)]
    run_id = tracker.write(RunRecord("long", Kind.TRIAL, history=history))
    assert len(tracker.client.get_metric_history(run_id, "m7")) == 50


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_single_run_ends_as_it_ended(
    tracker: Tracker, error: type[BaseException] | None, status: str
) -> None:
    def run() -> None:
        with SingleRun(tracker, RunRecord("one", Kind.SINGLE)) as single:
            single.log_epoch(1, {"loss": 0.5})
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(error):
            run()
    (found,) = tracker.runs(Kind.SINGLE)
    assert found.info.status == status
    assert found.data.metrics == {"loss": 0.5}


def write_some(folder: Path) -> None:
    """What a worker process does: write runs."""
    tracker = Tracker.open(folder)
    for number in range(5):
        tracker.write(RunRecord(str(number), Kind.TRIAL, metrics={"objective": float(number)}))


def test_two_processes_write_to_one_store_that_neither_found(
    processes: ForkServerContext | SpawnContext, tmp_path: Path
) -> None:
    writers = [processes.Process(target=write_some, args=(tmp_path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(Tracker.open(tmp_path).runs(Kind.TRIAL)) == 10


def test_text_of_values() -> None:
    assert as_text([1, 2]) == "[1, 2]"
    assert as_text((0.0, 1.0)) == "[0.0, 1.0]"
