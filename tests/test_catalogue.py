"""A measure is one record: added to the catalogue, it appears wherever measures do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike
from report_fixture import Made, make_ablation

from qa_core.config import run_config_from_flat
from qa_core.data.splits import plan_splits
from qa_core.features.workspace import Workspace
from qa_core.measures import catalogue
from qa_core.measures.catalogue import MEASURES, Measure, error
from qa_core.measures.evaluation import score_epoch, score_predictions
from qa_core.records.mlflow_store import open_client
from qa_core.records.schema import Reference
from qa_core.records.tracking import Tracker
from qa_core.targets import TARGETS, Target
from reports.evidence.load import load_ablation
from reports.evidence.others import with_predictions
from reports.paper.tables import long_table, main_header, main_table
from reports.verdicts.results import build_results
from studies.context import Context
from studies.reference_rows import OFF_SCALE, ReferenceScorer

OF_TIME = ("second", "memory")


def mean_absolute_error(prediction: ArrayLike, mos: ArrayLike) -> float | None:
    return float(np.mean(np.abs(np.subtract(prediction, mos))))


@pytest.fixture
def mae(monkeypatch: pytest.MonkeyPatch) -> Measure:
    """A measure of a user's own, in the catalogue and nowhere else."""
    own = Measure("mae", error(mean_absolute_error), "MAE", needs_scale=True, of_references=True,
                  by_epoch="val_mae")  # fmt: skip
    monkeypatch.setattr(catalogue, "MEASURES", (*MEASURES, own))
    return own


def test_evaluation_computes_it(mae: Measure) -> None:
    mos = np.array([0.1, 0.5, 0.9, 0.3])
    frame = pd.DataFrame({"q": mos + 0.05, "mos_quality": mos})
    assert score_predictions(frame)[0]["mae_quality"] == pytest.approx(0.05)
    assert score_epoch({"q": mos + 0.05, "mos_quality": mos})[0]["mae_quality"] == pytest.approx(
        0.05
    )
    assert "mae_consistency" not in score_predictions(frame)[0]


def test_zeroshot_has_no_value_where_the_scale_of_the_ratings_is_needed(
    mae: Measure, narrow_models: None, small_table: Path, tmp_path: Path
) -> None:
    flags = {"backbone": "narrow-3", "pretrained": "none", "data_csv_path": str(small_table)}
    workspace = Workspace.open(run_config_from_flat(flags), tmp_path)
    plan = plan_splits(workspace.table.frame["group"].to_numpy(str))
    scorer = ReferenceScorer(Context(workspace, plan, Tracker("", "")))
    found, undefined, _ = scorer.score(Reference.ZEROSHOT, plan.splits[0])
    for target in TARGETS:
        assert undefined[f"mae_{target}"] == undefined[f"rmse_{target}"] == OFF_SCALE
    assert not [name for name in found if name.startswith(("mae", "rmse"))]
    found, undefined, predictions = scorer.score(Reference.RIDGE, plan.splits[0])
    assert predictions is not None
    apart = (predictions["c"] - predictions["mos_consistency"]).abs().mean()
    assert found["mae_consistency"] == pytest.approx(apart)
    assert not [name for name in (*found, *undefined) if name.startswith(("base", "delta"))]


def test_the_report_shows_it(mae: Measure, tmp_path: Path) -> None:
    make_ablation(tmp_path, Made(n_splits=2, n_trials=0, modes=("traditional", "residual")))
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    before = load_ablation(uri)
    client = open_client(uri)
    for run_id, tested in before.predictions.groupby("run_id"):
        for name, value in score_predictions(tested)[0].items():
            if name.startswith("mae"):
                client.log_metric(str(run_id), f"test_{name}", value)
    off_scale = {f"test_mae_{target}": OFF_SCALE for target in TARGETS}
    for run_id in before.references.loc[before.references["reference"] == "zeroshot", "run_id"]:
        client.set_tag(run_id, "undefined", json.dumps(off_scale))

    ablation = load_ablation(uri)
    images = ablation.predictions.drop_duplicates("row")
    file = tmp_path / "theirs.csv"
    pd.DataFrame({"name": images["name"], "quality": 100 * images["mos_quality"]}).to_csv(file)
    results = build_results(with_predictions(ablation, "theirs", file), [], [], {})
    guide, baselines = results["guide_modes"], results["baselines"]

    tested = ablation.predictions.query("mode == 'residual'")
    by_split: Any = (tested["q"] - tested["mos_quality"]).abs().groupby(tested["split"]).mean()
    assert guide["residual"]["mae_quality"]["mean"] == pytest.approx(by_split.mean())
    assert baselines["zeroshot"]["mae_quality"] == {
        "mean": None, "low": None, "high": None, "n": 0, "reason": OFF_SCALE,
    }  # fmt: skip
    theirs = baselines["theirs"]["mae_quality"]
    assert theirs["mean"] is None and "scale" in theirs["reason"]
    csv = long_table(baselines).set_index(["name", "measure"])
    assert np.isnan(csv.loc[("zeroshot", "mae_quality"), "mean"])

    groups = main_table(ablation, Target.QUALITY, guide, {}, baselines)
    column = main_header().index("MAE") - 1  # the first column is the row's name
    cells = {row["name"]: row["cells"] for group in groups for row in group["rows"]}
    assert {len(row) for row in cells.values()} == {len(main_header()) - 1}
    by_value = {name: row[column]["value"] for name, row in cells.items()}
    assert [value == "–" for value in by_value.values()] == [False, False, *[True] * 6]


def test_names_say_what_holds_time_or_memory_and_are_unlike() -> None:
    names = [measure.name for measure in MEASURES]
    assert len(set(names)) == len(names)
    logged = [measure.logged() for measure in MEASURES]
    curves = {measure.by_epoch for measure in MEASURES} - {""}
    # a run logs both by name: one that every epoch logs must not be overwritten at its end
    assert len({*logged, *curves}) == len(logged) + len(curves)
    for measure in MEASURES:
        of_time = measure.unit == "seconds" or "memory" in measure.name
        assert any(word in measure.name for word in OF_TIME) == of_time
