"""A whole ablation with real processes: killed on its way, finished by the same command."""

import subprocess
from collections import Counter

import pytest
from conftest import FinishedAblation

from qa_core.errors import UserError
from qa_core.tracking import Tracker, as_text
from studies.parent_runs import MUST_AGREE, refuse_changes


def runs_by_content(tracker: Tracker) -> Counter[tuple[str, ...]]:
    """How often each result is there."""
    names = ("mode", "trial", "setting", "split", "reference")
    return Counter(
        (kind, *(run.data.tags.get(name, "") for name in names))
        for kind in ("trial", "confirmation", "reference", "mode", "ablation")
        for run in tracker.runs(kind)
    )


@pytest.mark.xdist_group("ablation")
def test_a_killed_ablation_is_finished_and_then_left_alone(
    finished_ablation: FinishedAblation,
) -> None:
    out, said = finished_ablation.out, finished_ablation.said
    assert " tune " not in said
    assert f"make ui OUT={out}" in said
    assert (out / "report.pdf").stat().st_size > 0
    tracker = Tracker.open(out)
    found = runs_by_content(tracker)
    assert set(found.values()) == {1}
    kinds = Counter(content[0] for content in found)
    assert (kinds["trial"], kinds["reference"], kinds["mode"]) == (8, 8, 4)
    assert kinds["confirmation"] >= 8
    statuses = {run.info.status for kind in kinds for run in tracker.runs(kind)}
    assert "RUNNING" not in statuses

    third = subprocess.run(finished_ablation.command, capture_output=True, text=True, check=False)
    assert third.returncode == 0 and "everything is there already" in third.stdout
    assert runs_by_content(tracker) == found


def test_another_ablation_in_the_folder_is_refused_by_what_differs() -> None:
    params = dict.fromkeys(MUST_AGREE, 1) | {"profile": "smoke"}
    there = {name: as_text(value) for name, value in params.items()}
    refuse_changes(there, params, "runs/a")
    changed = params | {"profile": "default", "epochs": 8}
    with pytest.raises(UserError) as refusal:
        refuse_changes(there, changed, "runs/a")
    assert str(refusal.value) == (
        "runs/a holds another ablation: PROFILE was smoke there and is default now. Also different:"
        " the number of epochs. Choose another folder with OUT=, or delete that one."
    )
