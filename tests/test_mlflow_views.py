"""Ready views of MLflow's pages, as data: what they hold, and that MLflow can keep them."""

import json

import pytest

from qa_core.targets import TARGETS, Target
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
