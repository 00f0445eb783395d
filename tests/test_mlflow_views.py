"""Ready views of MLflow's pages, as data: what they hold, and that MLflow can keep them."""

import json
import shutil
from pathlib import Path

import pytest

from qa_core.records.schema import Kind
from qa_core.records.tracking import RunRecord, Tracker
from qa_core.targets import TARGETS, Target
from reports.mlflow_pages.scores import log_scores
from reports.mlflow_pages.views import View, modes_view, plain_link, run_link, trials_view, view_tag


def state_of(view: View) -> dict:
    name, value = view_tag(view, 1_700_000_000_000)
    assert name == f"mlflow.sharedViewState.{view.key}"
    assert len(value) <= 20_000, "MLflow refuses longer tags"
    return json.loads(json.loads(value)["state"])


@pytest.mark.parametrize("targets", [TARGETS, (Target.CONSISTENCY,)])
@pytest.mark.parametrize("make", [trials_view, modes_view])
def test_every_chart_stands_in_a_section_and_none_is_there_twice(make, targets) -> None:
    state = state_of(make(targets))
    sections = [section["uuid"] for section in state["compareRunSections"]]
    charts = state["compareRunCharts"]
    *filled, rest = sections
    assert {chart["metricSectionId"] for chart in charts} == set(filled)
    assert not state["compareRunSections"][-1]["display"] and rest not in filled
    assert len(set(sections)) == len(sections)
    assert len({chart["uuid"] for chart in charts}) == len(charts)
    absent = {"quality", "consistency"} - set(targets)
    assert not [word for word in absent if word in json.dumps(state)]


def test_trials_show_what_tuning_tried_and_what_came_of_it() -> None:
    state = state_of(trials_view(TARGETS))
    knobs = ("mode", "frozen_blocks", "residual_scale_q", "residual_scale_c", "log10_lr")
    measures = ("objective", *(f"{m}_{t}" for m in MEASURES for t in TARGETS))
    wanted = [f"params.`{name}`" for name in knobs] + [f"metrics.`{name}`" for name in measures]
    assert state["selectedColumns"] == [*wanted, "tags.`state`"]
    kinds = [chart["type"] for chart in state["compareRunCharts"]]
    assert [kinds.count(kind) for kind in ("PARALLEL", "SCATTER", "LINE")] == [2, 4, 6]
    axes = {(c["xaxis"]["key"], c["yaxis"]["key"]) for c in charts(state, "SCATTER")}
    assert axes == {
        (x, f"val_srocc_{target}")
        for target in TARGETS
        for x in (f"train_val_gap_{target}", "frozen_blocks")
    }


MEASURES = ("val_srocc", "train_val_gap", "delta_saturation")


def charts(state: dict, kind: str) -> list[dict]:
    return [chart for chart in state["compareRunCharts"] if chart["type"] == kind]


def test_the_same_view_is_the_same_tag() -> None:
    assert view_tag(modes_view(TARGETS), 1) == view_tag(modes_view(TARGETS), 1)


def test_links() -> None:
    plain = plain_link("http://127.0.0.1:5000", "1", ["a", "b"])
    assert plain.endswith(
        "/#/compare-runs?runs=%5B%22a%22%2C%20%22b%22%5D&experiments=%5B%221%22%5D"
    )
    file = run_link("", "1", "abc", "report.pdf")
    assert file == "/#/experiments/1/runs/abc/artifacts/report.pdf?workflowType=machine_learning"


def test_a_bar_is_cut_drawn_once_and_drawn_anew_where_it_moves(
    created_store: Path, tmp_path: Path
) -> None:
    shutil.copy(created_store / "mlflow.db", tmp_path)
    tracker = Tracker.open(tmp_path)
    tracker = tracker.of_ablation(tracker.start(RunRecord("an ablation", Kind.ABLATION)))
    tracker.start(RunRecord("residual", Kind.MODE, tags={"mode": "residual"}))

    def bars(low: float | None, mean: float, high: float | None) -> list[list[tuple[int, float]]]:
        estimate = {"mean": mean, "low": low, "high": high}
        measures = {"srocc_quality": estimate, "train_val_gap_quality": estimate}
        results = {"guide_modes": {"residual": measures}, "modes": {}}
        results |= {"baselines": {"ridge": measures, "ceiling": measures}}
        log_scores(tracker, tracker.runs(Kind.MODE), results)
        runs = [*tracker.runs(Kind.REFERENCE_MEANS), *tracker.runs(Kind.MODE)]
        assert len(runs) == 2
        assert all(run.data.metrics["srocc_quality"] == mean for run in runs)
        assert all("train_val_gap_quality" not in run.data.metrics for run in runs)
        histories = [
            tracker.client.get_metric_history(run.info.run_id, "srocc_quality_ci") for run in runs
        ]
        return [sorted((metric.step, metric.value) for metric in one) for one in histories]

    first = bars(0.1, 0.5, 1.3)
    (ridge, residual) = ({step for step, _ in one} for one in first)
    assert len(ridge) == len(residual) == 1 and ridge != residual
    assert [[value for _, value in one] for one in first] == [[0.1, 0.5, 1.0]] * 2
    assert bars(0.1, 0.5, 1.3) == first
    moved = bars(0.2, 0.5, 1.3)  # its upper end and its mean are the old ones
    assert [one[:3] for one in moved] == first
    assert [[value for _, value in one[3:]] for one in moved] == [[0.2, 0.5, 1.0]] * 2
    assert bars(0.2, 0.5, 1.3) == moved
    dots = bars(None, 0.6, None)
    assert [[value for _, value in one[6:]] for one in dots] == [[0.6]] * 2
