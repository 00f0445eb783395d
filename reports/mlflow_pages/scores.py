"""Scores of modes and references over the splits, written to their runs for the ready views."""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Kind, Reference, Setting, Tag, is_finished
from qa_core.records.tracking import RunRecord, Tracker, as_metrics, epoch_metrics
from qa_core.targets import TARGETS
from reports.evidence.frames import mode_rank
from reports.figures.style import colour, label
from reports.mlflow_pages.views import (
    COLOUR_TAG,
    CURVES,
    TUNED,
    drawn_with_interval,
    interval_of,
)

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

_FURTHER = 100  # steps, more than there are places
_CURVES = [f"{name}_{target}" for name in CURVES for target in TARGETS]

Estimates = Mapping[str, Mapping[str, Any]]
"""Mean, low and high by the measure's name, as results.json holds them."""


def log_scores(tracker: Tracker, modes: Sequence["Run"], results: Mapping[str, Any]) -> None:
    """Write to each mode's run, and to one of each reference, its scores; what is there is left.

    The ceiling is left out: it is no score of a model, and would press the others together.
    """
    scorers = [name for name in Reference if name is not Reference.CEILING]
    for place, name in enumerate(scorers):
        if name in results["baselines"]:
            _log(tracker, _reference_run(tracker, name), results["baselines"][name], place)
    for run in modes:
        mode = run.data.tags[Tag.MODE]
        tuned = results["modes"].get(mode, {}).items()
        tuned = {TUNED + name: e for name, e in tuned if name.startswith(SROCC.name)}
        # its own place, whatever arms come later
        place = len(scorers) + mode_rank(mode)[0]
        _log(tracker, run, results["guide_modes"].get(mode, {}) | tuned, place)
        if not any(name.startswith(SROCC.by_epoch) for name in run.data.metrics):
            curve = _mean_curve(tracker, mode)
            tracker.log(run.info.run_id, metrics=epoch_metrics(curve))


def _log(tracker: Tracker, run: "Run", estimates: Estimates, place: int) -> None:
    """Write means, and low, mean and high as one name's values at the step `place`.

    A line chart of MLflow draws the latter as an upright bar, cut to the measure's scale as in the
    report; where a protocol gives no interval, the mean as a dot. MLflow forgets no value: a bar
    that a newer version of the statistics moves is drawn anew, further right.
    """
    known = run.data.metrics
    metrics = []
    for name, found in estimates.items():
        if found["mean"] is None or name in _CURVES:  # its points the mean would join
            continue
        if known.get(name) != found["mean"]:
            metrics += as_metrics({name: found["mean"]})
        measure = drawn_with_interval(name)
        if measure is not None:
            least, most = measure.scale
            ends = (found[end] for end in ("low", "mean", "high") if found[end] is not None)
            bar = {min(max(end, least), most) for end in ends}
            metrics += _new_bar(tracker, run, interval_of(name), bar, place)
    if metrics:
        tracker.log(run.info.run_id, metrics=metrics)


def _new_bar(
    tracker: Tracker, run: "Run", name: str, bar: Set[float], place: int
) -> "list[Metric]":
    """The bar's values, unless it is the last that was drawn."""
    drawn: defaultdict[int, set[float]] = defaultdict(set)
    if name in run.data.metrics:
        for metric in tracker.client.get_metric_history(run.info.run_id, name):
            drawn[metric.step].add(metric.value)
    if drawn and drawn[max(drawn)] == bar:
        return []
    step = place + len(drawn) * _FURTHER
    return [metric for value in sorted(bar) for metric in as_metrics({name: value}, step)]


def _reference_run(tracker: Tracker, name: Reference) -> "Run":
    for run in tracker.runs(Kind.REFERENCE_MEANS, reference=name):
        if not is_finished(run):  # a kill left it open
            tracker.client.set_terminated(run.info.run_id)
        return run
    tags = {Tag.REFERENCE: name, COLOUR_TAG: colour(name)}
    record = RunRecord(label(name), Kind.REFERENCE_MEANS, tracker.ablation_id, tags)
    return tracker.client.get_run(tracker.write(record))


def _mean_curve(tracker: Tracker, mode: str) -> list[dict[str, float]]:
    """Measures by epoch of a mode at the guide's setting, mean over its splits."""
    from reports.evidence.histories import metric_histories

    cells = tracker.runs(Kind.CONFIRMATION, mode=mode, setting=Setting.GUIDE)
    finished = [run.info.run_id for run in cells if is_finished(run)]
    frame: Any = metric_histories(tracker.client, finished, _CURVES).drop(columns="run_id")
    means = frame.groupby("epoch").mean().sort_index()
    return [{k: float(v) for k, v in row.items()} for row in means.to_dict("records")]
