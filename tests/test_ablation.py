"""A whole ablation with real processes: what is there at its end, and that it is left alone."""

import json
import subprocess
from collections import Counter

import pytest
from conftest import FinishedAblation

from benchmarks.soak import ablation_command, contents, still_running
from experiments.cli.ended import NOTE
from qa_core.arms import CONTROLS, MODES
from qa_core.errors import UserError
from qa_core.measures.catalogue import SROCC
from qa_core.records.mlflow_store import open_client
from qa_core.records.schema import Reference
from qa_core.records.tracking import as_text
from qa_core.serving.champion import ALIAS, REGISTERED_NAME
from qa_core.system.files import sqlite_address
from qa_core.targets import TARGETS
from studies.parent_runs import MUST_AGREE, refuse_changes


def test_a_finished_ablation_is_left_alone(finished_ablation: FinishedAblation) -> None:
    out, said = finished_ablation.out, finished_ablation.said
    assert f"make ui OUT={out}" in said
    assert (out / "report.pdf").stat().st_size > 0
    found = contents(out)
    assert set(found.values()) == {1}
    kinds = Counter(content[0] for content in found)
    modes = len(MODES | CONTROLS)
    assert (kinds["trial"], kinds["reference"], kinds["mode"]) == (
        2 * modes, 2 * len(Reference), modes,
    )  # fmt: skip
    assert kinds["confirmation"] >= 2 * modes
    assert still_running(out) == []

    command = [*ablation_command(out, *finished_ablation.flags), "--workers", "1"]
    built = (out / "report.pdf").stat().st_mtime_ns
    for known in (True, False):  # by the note of its end, and by looking at everything
        again = subprocess.run(command, capture_output=True, text=True, check=False)
        assert again.returncode == 0 and "everything is there already" in again.stdout
        assert ("opening" not in again.stdout) == known
        assert (out / "report.pdf").stat().st_mtime_ns == built  # nor is it built again
        (out / NOTE).unlink()
    assert contents(out) == found


def test_the_champion_has_a_card_with_its_scores(finished_ablation: FinishedAblation) -> None:
    out = finished_ablation.out
    card = (out / "champion.md").read_text(encoding="utf-8")
    version = open_client(sqlite_address(out / "mlflow.db")).get_model_version_by_alias(
        REGISTERED_NAME, ALIAS
    )
    assert version.description == card
    results = json.loads((out / "results.json").read_text())
    mode = next(name for name, one in MODES.items() if f"Mode: {one.label}, " in card)
    part = "guide_modes" if ", guide setting" in card else "modes"
    for target in TARGETS:
        assert f"{results[part][mode][SROCC.key(target)]['mean']:.3f} [" in card


def test_another_ablation_in_the_folder_is_refused_by_what_differs() -> None:
    params = dict.fromkeys(MUST_AGREE, 1) | {"profile": "smoke"}
    there = {name: as_text(value) for name, value in params.items()}
    refuse_changes(there, params, "runs/a")
    changed = params | {"profile": "default", "epochs": 8}
    with pytest.raises(UserError) as refusal:
        refuse_changes(there, changed, "runs/a")
    assert str(refusal.value) == (
        "runs/a holds another ablation, which differs in PROFILE (smoke there, default now), the"
        " number of epochs (1 there, 8 now). Choose another folder with OUT=, or delete that one."
    )
