"""Which runs a report pools: each place once, and never two results of one place."""

import pytest
from mlflow.entities import Metric, Run, RunData, RunInfo, RunTag

from qa_core.errors import UserError
from qa_core.records.schema import Kind, Tag
from reports.evidence.pooling import settle_doubles


def cell(run_id: str, split: int, srocc: float, status: str = "FINISHED", wall_s: float = 1) -> Run:
    info = RunInfo(run_id, "0", "me", status, int(run_id), None, "active")
    tags = {Tag.KIND: Kind.CONFIRMATION, Tag.MODE: "residual", Tag.SPLIT: str(split)}
    metrics = {"test_srocc_quality": srocc, "wall_s": wall_s}
    return Run(
        info,
        RunData(
            [Metric(name, value, 0, 0) for name, value in metrics.items()],
            [],
            [RunTag(name, value) for name, value in tags.items()],
        ),
    )


def test_a_result_told_twice_counts_once_and_the_first_is_kept() -> None:
    runs = [cell("2", 0, 0.7, wall_s=5), cell("1", 0, 0.7), cell("3", 1, 0.6)]
    assert [run.info.run_id for run in settle_doubles(runs)] == ["1", "3"]


def test_two_results_of_one_place_are_refused_by_their_runs() -> None:
    with pytest.raises(UserError, match="Runs 1 and 2 tell different results of one place"):
        settle_doubles([cell("1", 0, 0.7), cell("2", 0, 0.8)])


def test_a_failed_try_is_no_result() -> None:
    runs = [cell("1", 0, 0.1, status="FAILED"), cell("2", 0, 0.8)]
    assert settle_doubles(runs) == runs
