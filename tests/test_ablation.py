"""A whole ablation with real processes: killed on its way, finished by the same command."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import write_table

from qa_core.errors import UserError
from qa_core.tracking import Tracker, as_text
from studies.parent_runs import MUST_AGREE, refuse_changes


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A smoke ablation of 20 prompts, with a tuning pool, on a backbone of random weights."""
    folder = tmp_path / "data"
    folder.mkdir()
    flags = {
        "profile": "smoke",
        "table": write_table(folder, prompts=20, images_per_prompt=4),
        "range_q": "1:5",
        "range_c": "1:5",
        "protocol": "honest",
        "pretrained": "none",
        "workers": "1",
        "out": tmp_path / "out",
        "cache": tmp_path / "cache",
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "experiments.ablation", *words]


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def runs_by_content(tracker: Tracker) -> Counter[tuple[str, ...]]:
    """How often each result is there."""
    names = ("mode", "trial", "setting", "split", "reference")
    return Counter(
        (kind, *(run.data.tags.get(name, "") for name in names))
        for kind in ("trial", "confirmation", "reference", "mode", "ablation")
        for run in tracker.runs(kind)
    )


def test_a_killed_ablation_is_finished_and_then_left_alone(
    command: list[str], tmp_path: Path
) -> None:
    first = start(command)
    assert first.stdout is not None
    for line in first.stdout:
        if " confirm " in line:
            os.killpg(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL

    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stdout + second.stderr
    assert " tune " not in second.stdout
    assert f"make ui OUT={tmp_path / 'out'}" in second.stdout
    assert (tmp_path / "out" / "report.pdf").stat().st_size > 0
    tracker = Tracker.open(tmp_path / "out")
    found = runs_by_content(tracker)
    assert set(found.values()) == {1}
    kinds = Counter(content[0] for content in found)
    assert (kinds["trial"], kinds["reference"], kinds["mode"]) == (8, 8, 4)
    assert kinds["confirmation"] >= 8
    statuses = {run.info.status for kind in kinds for run in tracker.runs(kind)}
    assert "RUNNING" not in statuses

    third = subprocess.run(command, capture_output=True, text=True, check=False)
    assert third.returncode == 0 and "everything is there already" in third.stdout
    assert runs_by_content(tracker) == found


def test_another_ablation_in_the_folder_is_refused_by_what_differs() -> None:
    params = dict.fromkeys(MUST_AGREE, 1) | {"profile": "smoke"}
    there = {name: as_text(value) for name, value in params.items()}
    refuse_changes(there, params, Path("runs/a"))
    changed = params | {"profile": "default", "epochs": 8}
    with pytest.raises(UserError) as refusal:
        refuse_changes(there, changed, Path("runs/a"))
    assert str(refusal.value) == (
        "runs/a holds another ablation: PROFILE was smoke there and is default now. Also different:"
        " the number of epochs. Choose another folder with OUT=, or delete that one."
    )
