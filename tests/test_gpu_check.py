"""What `make gpu-check` measures runs on a CPU too, on tiny sizes; a part that dies is told."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_check
from benchmarks.gpu.answers import answers
from benchmarks.gpu.frozen import frozen
from benchmarks.gpu.part import PARTS, Part
from benchmarks.gpu.sizes import ON_CPU
from benchmarks.gpu.steps import steps
from benchmarks.gpu.throughput import measured, throughput

SIZES = dataclasses.replace(ON_CPU, models=("narrow-3",), large="narrow-3", frozen_blocks=2)


def test_operations_grow_with_the_batch(narrow_models: None) -> None:
    one, two = (measured("narrow-3", size, "eager", 1, "cpu") for size in (2, 4))
    assert two["operations"] == pytest.approx(2 * one["operations"], rel=0.01)
    assert one["images_per_s"] > 0 and one["share_of_peak"] is None


def test_batches_double_and_what_fails_is_told(narrow_models: None, tmp_path: Path) -> None:
    *_, found = throughput(SIZES, "cpu", tmp_path, tmp_path)
    rows = found["rows"]
    assert [row["batch"] for row in rows] == [2, 4]
    unknown = dataclasses.replace(SIZES, models=("no-such-model",))
    (found,) = throughput(unknown, "cpu", tmp_path, tmp_path)
    (row,) = found["rows"]
    assert "no-such-model" in row["failed"] and "images_per_s" not in row


def test_a_step_is_taken_apart(narrow_models: None, tmp_path: Path) -> None:
    *_, found = steps(SIZES, "cpu", tmp_path, tmp_path)
    assert found["step_s"] > 0 and found["kernels_s"] > 0
    assert 0 < sum(found["longest_s"].values()) < found["kernels_s"]


def test_frozen_parts_are_timed(narrow_models: None, tmp_path: Path) -> None:
    *_, found = frozen(SIZES, "cpu", tmp_path, tmp_path)
    rows = found["rows"]
    assert list(rows) == ["probe", "partial_freeze", "full"]
    assert all(row["epoch_s"] > 0 for row in rows.values())


def test_a_cpu_answers_as_a_cpu(tmp_path: Path) -> None:
    *_, found = answers(SIZES, "cpu", tmp_path, tmp_path)
    assert len(found["rows"]) == 1
    assert found["srocc_apart"] == found["embeddings_apart"] == found["repeat_apart"] == 0


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("exit 3", "ended with status 3"),
        ("sleep 60", "took longer than 1 s"),
        ("echo '{\"rows\": [1]}' > $5/found.json; exit 3", "ended with status 3"),
    ],
)
def test_a_part_that_dies_or_hangs_leaves_the_others_their_turn(
    program: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PARTS, "memory", Part(PARTS["memory"].run, 1.0))
    (tmp_path / "program").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "program").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "program"))
    found = gpu_check.run_apart("memory", "cpu", tmp_path)
    assert why in found["failed"] and found["wall_s"] < 30
    assert ("rows" in found) == ("found.json" in program)  # what it had found until then is kept


def test_the_command_writes_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gpu.json").write_text(json.dumps({"steps": {"step_s": 1.0}}))
    words = ["--out", tmp_path, "--device", "cpu", "--only", "memory", "--cache", tmp_path]
    monkeypatch.setattr(sys, "argv", ["gpu_check", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        gpu_check.main()
    assert ended.value.code == 0
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["steps"] == {"step_s": 1.0} and "no card" in found["memory"]["skipped"]
    assert found["memory"]["device"] == "cpu"
    assert "no card" in capsys.readouterr().out
