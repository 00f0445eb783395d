"""An ablation stored by an earlier version still builds its results, with the same digits.

`stored/smoke_ablation.json` holds the runs of a real smoke ablation with a depth study, with the
names of kinds, tags, parameters and metrics that were written then. It is never written anew: a
name that changes needs a translation where the report reads, not another file.
"""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from report_fixture import _Writer

from qa_core.records.tracking import Tracker
from reports.claims import CLAIMS
from reports.evidence.load import load_ablation
from reports.verdicts.decided import decide_ablation
from studies.state import read_states

STORED = Path(__file__).with_name("stored") / "smoke_ablation.json"


def write_stored_ablation(out: Path) -> str:
    """Write the stored runs to `out`/mlflow.db; returns the store's address."""
    writer, run_ids = _Writer(out), []
    for number, run in enumerate(json.loads(STORED.read_text(encoding="utf-8"))["runs"]):
        tags = run["tags"] | {"mlflow.runName": run["name"]}
        if "parent" in run:
            tags["mlflow.parentRunId"] = run_ids[run["parent"]]
        folder = _artifacts(out / "copied" / str(number), run.get("predictions"))
        metrics = [
            (name, value, step)
            for name, pairs in run["metrics"].items()
            for step, value in (pairs if isinstance(pairs, list) else [(0, pairs)])
        ]
        run_id = writer.run(run["kind"], tags, run["params"], metrics, run["status"], folder)
        writer.ablation_id = writer.ablation_id or run_id  # the ablation's own run comes first
        run_ids.append(run_id)
    return writer.client.tracking_uri


def _artifacts(folder: Path, predictions: list[list[str]] | None) -> Path | None:
    if predictions is None:
        return None
    folder.mkdir(parents=True)
    with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(predictions)
    return folder


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_stored_ablation(tmp_path_factory.mktemp("stored"))


@pytest.fixture(scope="module")
def results(stored: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return decide_ablation(stored, tmp_path_factory.mktemp("downloads"), CLAIMS, {}).results


def test_the_modes_keep_their_digits(results: dict[str, Any]) -> None:
    names = ("srocc_quality", "srocc_consistency", "train_val_gap_last_quality")
    found = {
        mode: [measures[name]["mean"] for name in names]
        for mode, measures in results["guide_modes"].items()
    }
    assert found == {
        "traditional": pytest.approx([0.2380, 0.1130, 0.4055], abs=5e-5),
        "residual": pytest.approx([0.3060, 0.5749, 0.4258], abs=5e-5),
        "residual_partial_freeze": pytest.approx([0.0771, 0.6155, 0.1955], abs=5e-5),
        "linear_probe": pytest.approx([-0.0493, 0.6182, 0.1495], abs=5e-5),
    }
    tuned = results["modes"]
    assert tuned["linear_probe"]["srocc_quality"]["mean"] == pytest.approx(0.3049, abs=5e-5)
    assert tuned["residual"] == results["guide_modes"]["residual"]  # tuning kept the guide's
    saturation = results["guide_modes"]["traditional"]["delta_saturation_quality"]
    assert saturation["mean"] is None and saturation["reason"]
    references = {name: row["srocc_quality"]["mean"] for name, row in results["baselines"].items()}
    assert references == pytest.approx(
        {"zeroshot": 0.6389, "ridge": 0.7181, "floor": 0.5096, "ceiling": 0.9733}, abs=5e-5
    )


def test_the_study_keeps_its_points(results: dict[str, Any]) -> None:
    depth = results["studies"]["depth"]
    assert depth["question"] == "How many blocks should be frozen?"
    assert (depth["epochs"], depth["n_splits"], depth["n_missing"]) == (2, 2, 0)
    assert depth["variance_factor"] == pytest.approx(0.9)
    points = depth["points"]
    assert [p["knobs"] for p in points] == [
        {"freeze_layers": depth} for depth in (0, 2, 3, 4, 6, 8, 9, 10, 12)
    ]
    assert {(p["mode"], p["lr"], p["train_share"]) for p in points} == {
        ("residual_partial_freeze", 3e-4, 1.0)
    }
    assert [p["pool"] for p in points[:3]] == pytest.approx([0.3338, 0.3392, 0.3325], abs=5e-5)
    srocc = [p["srocc_quality"]["mean"] for p in points]
    assert srocc[::4] == pytest.approx([0.5645, 0.4535, 0.1090], abs=5e-5)


def test_the_claims_are_decided_as_they_were(results: dict[str, Any]) -> None:
    decided = {(claim["id"], claim["target"]): claim for claim in results["claims"]}
    assert decided["probe_cheapest", "cost"]["verdict"] == "supported"
    band = decided["freeze_band_best", "quality"]
    assert band["verdict"] == "not decided"
    assert band["effect"] == pytest.approx(-0.3001, abs=5e-5)
    assert decided["scale_suits_data", "quality"]["verdict"] == "not tested"


def test_curves_predictions_and_settings_are_read(stored: str) -> None:
    ablation = load_ablation(stored)
    assert ablation.complete and ablation.is_smoke
    assert set(ablation.curves["epoch"]) == {0, 1, 2}
    assert len(ablation.predictions) == 6 * len(ablation.cells)
    assert ablation.modes_kept == {"traditional", "residual"}
    tuned = dict(zip(ablation.modes["mode"], ablation.modes["tuned_setting"], strict=True))
    assert tuned["linear_probe"]["lr"] == pytest.approx(0.00160865)


def test_status_counts_what_is_there(stored: str) -> None:
    (state,) = read_states(Tracker.at(stored))
    rows = {(row.study, row.mode): row for row in state.rows}
    assert state.complete and state.sign is None
    assert rows["tune", "residual"].done == rows["tune", "residual"].total == 2
    assert rows["confirm", "linear_probe"].total == 4
    assert rows["confirm", "residual"].total == 2
    assert rows["depth", "residual_partial_freeze"].done == 18
    assert rows["reference", ""].done == 8
