"""How a machine is divided among workers: cores, quotas, GPUs."""

import os
from collections import Counter
from pathlib import Path

import pytest

from qa_core.system.processes import usable_cores
from studies.engine.processes import in_environment, next_gpu, visible_gpus


@pytest.mark.parametrize(
    ("gpus", "workers", "expected"),
    [
        ([], 3, [None, None, None]),
        (["0"], 3, ["0", "0", "0"]),
        (["0", "1"], 4, ["0", "1", "0", "1"]),
        (["3", "GPU-a", "5"], 2, ["3", "GPU-a"]),
    ],
)
def test_workers_go_round_the_gpus(
    gpus: list[str], workers: int, expected: list[str | None]
) -> None:
    given: list[str | None] = []
    for _ in range(workers):
        given.append(next_gpu(gpus, [gpu for gpu in given if gpu is not None]))
    assert given == expected


def test_the_successor_of_a_dead_worker_takes_its_gpu() -> None:
    gpus = ["0", "1", "2"]
    taken = ["0", "1", "2", "0", "1", "2"]
    taken.remove("1")
    taken.append(str(next_gpu(gpus, taken)))
    assert Counter(taken) == Counter(gpus * 2)


def test_gpus_are_those_that_this_process_may_use() -> None:
    assert visible_gpus({}, 2) == ["0", "1"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "3, GPU-a"}, 2) == ["3", "GPU-a"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}, 0) == []


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("", 8)]
)
def test_the_quota_of_a_container_bounds_its_cores(quota: str, cores: int, tmp_path: Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert usable_cores(8, file) == cores
    assert usable_cores(8, tmp_path / "none") == 8


def test_an_environment_is_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QA_KEPT", "before")
    with in_environment({"QA_KEPT": "inside", "QA_NEW": "inside"}):
        assert (os.environ["QA_KEPT"], os.environ["QA_NEW"]) == ("inside", "inside")
    assert os.environ["QA_KEPT"] == "before" and "QA_NEW" not in os.environ
