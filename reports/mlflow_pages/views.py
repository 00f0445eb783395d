"""Ready views of an ablation in MLflow's pages, and the links that open them.

A view is what MLflow's own "share view" keeps as a tag of the experiment. Its format is internal
to MLflow (written for 3.17, as its pages read it); `plain_link` needs none of it.
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from qa_core.measures.catalogue import (
    EPOCH_SECONDS,
    GAP,
    GAP_LAST,
    PARAMETERS,
    RETENTION,
    SATURATION,
    SROCC,
    Measure,
)
from qa_core.records.schema import Kind, Tag
from qa_core.targets import Target

VIEW_TAG, COLOUR_TAG = "mlflow.sharedViewState.", "mlflow.runColor"
_HEIGHT, _TALL_HEIGHT, _COLUMN_WIDTH = 320, 420, 130  # pixels
_MOST_RUNS = 500
_MENU = "workflowType=machine_learning"


@dataclass(frozen=True)
class View:
    """One ready view.

    Attributes:
        key: Names it in the link.
        title: Shown above it.
        where: Which runs it shows, in MLflow's search language.
        order_by: Column that sorts them, best first.
        columns: Columns of its table, as `params.x`, `metrics.x`, `tags.x`.
        sections: Charts by the heading that they stand under.
    """

    key: str
    title: str
    where: str
    order_by: str
    columns: Sequence[str]
    sections: Mapping[str, Sequence[dict[str, Any]]]


def trials_view(targets: Sequence[Target]) -> View:
    """All trials as a flat table, how knobs and scores go together, and learning curves.

    Measures by epoch stand at the last epoch; `objective` is the best epoch's, which tuning chose.
    """
    srocc = [SROCC.curve(target) for target in targets]
    gap = [GAP.curve(target) for target in targets]
    saturation = [SATURATION.curve(target) for target in targets]
    scales = [target.scale for target in targets]
    knobs = ["frozen_blocks", "log10_lr"]
    return View(
        key="trials",
        title="Trials",
        where=f"tags.{Tag.KIND} = '{Kind.TRIAL}'",
        order_by="metrics.objective",
        columns=[
            *(f"params.{name}" for name in ("mode", "frozen_blocks", *scales, "log10_lr")),
            *(f"metrics.{name}" for name in ("objective", *srocc, *gap, *saturation)),
            f"tags.{Tag.STATE}",
        ],
        sections={
            "All modes: knobs and scores": [
                _parallel(["mode", *knobs], [*gap, *srocc, "objective"])
            ],
            "Residual modes: scales and saturation": [
                _parallel([*scales, *knobs], [*saturation, *gap, *srocc, "objective"])
            ],
            "Gap against SROCC": _scatters(gap, srocc, "METRIC"),
            "How much may training touch?": _scatters(["frozen_blocks"] * 2, srocc, "PARAM"),
            "Learning curves, mean over folds": [
                _line(name) for name in (*srocc, *gap, *saturation)
            ],
        },
    )


def modes_view(targets: Sequence[Target]) -> View:
    """All modes as confirmed at the guide's setting, and the references, over the splits."""
    srocc = [SROCC.key(target) for target in targets]
    gap = [GAP_LAST.key(target) for target in targets]
    saturation = [SATURATION.key(target) for target in targets]
    cost = [RETENTION.key(), EPOCH_SECONDS.key(), PARAMETERS.key()]
    curves = [f"{name}_{target}" for name in CURVES for target in targets]
    tuned = [TUNED + name for name in srocc]
    return View(
        key="modes",
        title="All modes, confirmed",
        where=f"metrics.{srocc[0]} >= -1",  # which modes and references alone hold
        order_by=f"metrics.{srocc[0]}",
        columns=[
            *(f"metrics.{name}" for name in (*srocc, *gap, *saturation, *cost)),
            *(f"metrics.{name}" for name in tuned),
        ],
        sections={
            "Test SROCC (95 %)": [_interval(name) for name in srocc],
            "Gap, last epoch (95 %)": [_interval(name) for name in gap],
            "Delta saturation (95 %)": [_interval(name) for name in saturation],
            "Test SROCC, tuned (95 %)": [_interval(name) for name in tuned],
            "Gap against test SROCC": _scatters(gap, srocc, "METRIC"),
            "Learning curves, means": [_line(name) for name in curves],
            "Alignment kept, and cost": [_bar(name) for name in cost],
        },
    )


TUNED = "tuned_"
"""What stands before a measure's name where it is that of the tuned setting."""


def interval_of(name: str) -> str:
    """Name of the metric that holds a measure's low, mean and high."""
    return f"{name}_ci"


def drawn_with_interval(name: str) -> Measure | None:
    """The measure of a name that a view draws with its interval; None for another."""
    bare = name.removeprefix(TUNED)
    return next((m for m in (SROCC, GAP_LAST, SATURATION) if bare.startswith(m.name)), None)


CURVES = (SROCC.by_epoch, GAP.by_epoch)
"""Measures whose mean curves a mode's run holds."""


def view_tag(view: View, created_ms: int) -> tuple[str, str]:
    """Name and value of the experiment's tag that keeps a view."""
    state = json.dumps(_state(view), separators=(",", ":"))
    envelope = {"name": view.title, "createdAt": created_ms, "updatedAt": created_ms}
    return VIEW_TAG + view.key, json.dumps(envelope | {"state": state})


def view_link(base: str, experiment_id: str, key: str, charts: bool = True) -> str:
    """Link to a ready view: its charts beside the list of runs, or its table alone."""
    link = f"{base}/#/experiments/{experiment_id}/runs?{_MENU}"
    return f"{link}&viewStateShareKey={key}" + ("&compareRunsMode=CHART" if charts else "")


def plain_link(base: str, experiment_id: str, run_ids: Iterable[str]) -> str:
    """Link to MLflow's own comparison of these runs, which no ready view is needed for."""
    runs, experiments = (quote(json.dumps(ids)) for ids in (list(run_ids), [experiment_id]))
    return f"{base}/#/compare-runs?runs={runs}&experiments={experiments}"


def run_link(base: str, experiment_id: str, run_id: str, file: str = "") -> str:
    """Link to a run, or to one of its artifacts."""
    page = f"/artifacts/{quote(file)}" if file else ""
    return f"{base}/#/experiments/{experiment_id}/runs/{run_id}{page}?{_MENU}"


def _state(view: View) -> dict[str, Any]:
    charts, sections = [], []
    columns = [_column(name) for name in view.columns]
    for heading, cards in view.sections.items():
        section = _stable_id(view.key, heading)
        parallel = any(card["type"] == "PARALLEL" for card in cards)
        sections.append(
            {
                "uuid": section,
                "name": heading,
                "display": True,
                "isReordered": True,
                "columns": 1 if parallel else min(len(cards), 3 if len(cards) % 3 == 0 else 2),
                "cardHeight": _TALL_HEIGHT if parallel else _HEIGHT,
            }
        )
        for number, card in enumerate(cards):
            named = {"uuid": _stable_id(section, str(number)), "metricSectionId": section}
            charts.append(named | card)
    # MLflow adds a chart of every further measure to this section: folded away.
    sections.append({"uuid": _stable_id(view.key), "name": "Model metrics", "display": False})
    return {
        "searchFilter": view.where,
        "orderByKey": _column(view.order_by),
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns, _COLUMN_WIDTH),
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "isAccordionReordered": True,
        "compareRunCharts": charts,
        "compareRunSections": sections,
    }


def _stable_id(*words: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, "/".join(words)).hex


def _column(name: str) -> str:
    kind, _, key = name.partition(".")
    return f"{kind}.`{key}`"


def _card(kind: str, **settings: Any) -> dict[str, Any]:
    whole = {"type": kind, "runsCountToCompare": _MOST_RUNS, "deleted": False, "isGenerated": False}
    return whole | settings


def _parallel(params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """Parallel coordinates of the runs that have all of these, coloured by the last."""
    return _card(
        "PARALLEL",
        selectedParams=list(params),
        selectedMetrics=list(metrics),
        showAllRuns=False,
    )


def _scatters(x: Sequence[str], y: Sequence[str], x_kind: str) -> list[dict[str, Any]]:
    return [
        _card(
            "SCATTER",
            xaxis={"key": across, "type": x_kind},
            yaxis={"key": up, "type": "METRIC"},
        )
        for across, up in zip(x, y, strict=False)
    ]


def _line(metric: str) -> dict[str, Any]:
    return _card(
        "LINE",
        metricKey=metric,
        selectedMetricKeys=[metric],
        xAxisKey="step",
        yAxisKey="metric",
        scaleType="linear",
        xAxisScaleType="linear",
        lineSmoothness=0,
        range={},
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
    )


def _interval(metric: str) -> dict[str, Any]:
    """Low, mean and high of each run as an upright bar."""
    return _line(interval_of(metric))


def _bar(metric: str) -> dict[str, Any]:
    return _card("BAR", metricKey=metric)
