"""Tidy frames from MLflow runs: one function a kind of run."""

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from qa_core.arms import ARMS, CONTROLS, MODES
from qa_core.errors import last_line
from qa_core.measures.catalogue import GAP, GAP_LAST
from qa_core.records.schema import Param, Setting, Tag

if TYPE_CHECKING:
    from mlflow.entities import Run


def select(frame: pd.DataFrame, **equals: object) -> pd.DataFrame:
    """Rows whose columns equal the given values."""
    mask = np.ones(len(frame), dtype=bool)
    for column, value in equals.items():
        mask &= (frame[column] == value).to_numpy(dtype=bool)
    chosen: Any = frame[mask]
    return chosen


def kept_together(predictions: pd.DataFrame) -> list[str]:
    """What a split keeps together, by row: the unit of a bootstrap over prompts."""
    column = "group" if "group" in predictions else "prompt"
    return [str(value) for value in predictions[column]]


def per_split(cells: pd.DataFrame, measure: str) -> pd.Series:
    """One value a split of a metric column, seeds averaged; empty where it was never logged."""
    if measure not in cells:
        return pd.Series(dtype=float)
    values = cells[measure].to_numpy(float)
    known = ~np.isnan(values)  # a report asks hundreds of times, and pandas takes its time
    splits, place = np.unique(cells["split"].to_numpy()[known], return_inverse=True)
    means = np.bincount(place, values[known]) / np.bincount(place)
    return pd.Series(means, pd.Index(splits, name="split"), name=measure)


def quantiles_by_epoch(curves: pd.DataFrame, measure: str, low: float, high: float) -> pd.DataFrame:
    """Median and two quantiles over runs: index = epoch, columns median, low, high.

    Empty where the measure was never logged.
    """
    columns = {"median": 0.5, "low": low, "high": high}
    if measure not in curves:
        return pd.DataFrame(columns=pd.Index(list(columns)))
    by_epoch: Any = curves.dropna(subset=[measure]).groupby("epoch")[measure]
    return pd.DataFrame({name: by_epoch.quantile(q) for name, q in columns.items()})


def mode_rank(mode: str) -> tuple[int, str]:
    """Sort key that puts modes first, then controls, then arms, in the order of their records."""
    known = (*MODES, *CONTROLS, *ARMS)
    return (known.index(mode) if mode in known else len(known), mode)


def _loads(text: str | None) -> dict[str, Any] | None:
    return json.loads(text) if text else None


def modes_frame(runs: list["Run"]) -> pd.DataFrame:
    """Modes with the setting that the guide gives and the one that tuning chose.

    Without tuning (too few prompts) the guide's setting is the one in force, so it counts as kept.
    """
    rows: list[dict[str, Any]] = []
    for run in runs:
        tuned = _loads(run.data.params.get(Param.TUNED_SETTING))
        kept = run.data.tags.get(Tag.TUNED_IS_GUIDE, "true" if tuned is None else "false") == "true"
        rows.append(
            {
                "mode": run.data.tags[Tag.MODE],
                "guide_setting": _loads(run.data.params.get(Param.GUIDE_SETTING)) or {},
                "tuned_setting": tuned,
                "tuned_is_guide": kept,
                "tuned_reason": run.data.tags.get(Tag.TUNED_REASON, ""),
                "arm_of": run.data.tags.get(Tag.ARM_OF, ""),
                "words": run.data.tags.get(Tag.WORDS, ""),
            }
        )
    rows.sort(key=lambda row: mode_rank(row["mode"]))
    columns = ["mode", "guide_setting", "tuned_setting", "tuned_is_guide", "tuned_reason",
               "arm_of", "words"]  # fmt: skip
    return pd.DataFrame(rows, columns=pd.Index(columns)).astype({"tuned_is_guide": bool})


def trials_frame(runs: list["Run"]) -> pd.DataFrame:
    """Tuning trials; knobs that a mode does not have hold NaN."""
    knobs = ("freeze_layers", "residual_scale_q", "residual_scale_c", "lr")
    rows = [
        {
            "run_id": run.info.run_id,
            "mode": run.data.tags.get(Tag.MODE, ""),
            "trial": int(run.data.tags.get(Tag.TRIAL, -1)),
            "state": run.data.tags.get(Tag.STATE, run.info.status),
            "objective": run.data.metrics.get("objective", np.nan),
            **{knob: _number(run.data.params.get(knob)) for knob in knobs},
        }
        for run in runs
    ]
    columns = ["run_id", "mode", "trial", "state", "objective", *knobs]
    return pd.DataFrame(rows, columns=pd.Index(columns)).sort_values(["mode", "trial"])


def _number(text: str | None) -> float:
    try:
        return float(text) if text is not None else np.nan
    except ValueError:
        return np.nan


_OLD_NAMES = {
    "best_train_val_gap": GAP.metric,
    "last_train_val_gap": GAP_LAST.name,
}
"""What older stores call a measure (without target), and its name today."""


def final_metrics(run: "Run") -> dict[str, float]:
    """The measures that a run ended with, by today's names."""
    return {_name_today(name): value for name, value in run.data.metrics.items()}


def undefined_metrics(run: "Run") -> dict[str, str]:
    """Why measures of a run have no value, by today's names."""
    reasons = _loads(run.data.tags.get(Tag.UNDEFINED)) or {}
    return {_name_today(name): reason for name, reason in reasons.items()}


def _name_today(metric: str) -> str:
    name, _, target = metric.rpartition("_")
    return f"{_OLD_NAMES[name]}_{target}" if name in _OLD_NAMES else metric


def cells_frame(runs: list["Run"]) -> pd.DataFrame:
    """Confirmation runs that ended well, with their final metrics as columns."""
    rows = [
        {
            "run_id": run.info.run_id,
            "mode": run.data.tags[Tag.MODE],
            "setting": run.data.tags.get(Tag.SETTING, Setting.GUIDE.value),
            "split": int(run.data.tags[Tag.SPLIT]),
            "seed": int(run.data.tags.get(Tag.SEED, 0)),
            "artifact_uri": run.info.artifact_uri or "",
            "params": dict(run.data.params),
            "undefined": undefined_metrics(run),
            **final_metrics(run),
        }
        for run in runs
    ]
    if not rows:
        names = [
            "run_id",
            "mode",
            "setting",
            "split",
            "seed",
            "artifact_uri",
            "params",
            "undefined",
        ]
        return pd.DataFrame(columns=pd.Index(names))
    frame = pd.DataFrame(rows).sort_values(["setting", "split", "seed"], kind="stable")
    return frame.sort_values("mode", key=lambda s: s.map(mode_rank), kind="stable")


def references_frame(runs: list["Run"]) -> pd.DataFrame:
    """Reference rows (zero-shot, ridge, floor, ceiling), one a split."""
    rows = [
        {
            "reference": run.data.tags[Tag.REFERENCE],
            "split": int(run.data.tags[Tag.SPLIT]),
            "run_id": run.info.run_id,
            "artifact_uri": run.info.artifact_uri,
            "undefined": undefined_metrics(run),
            **final_metrics(run),
        }
        for run in runs
    ]
    if not rows:
        return pd.DataFrame(columns=pd.Index(["reference", "split", "run_id", "artifact_uri"]))
    return pd.DataFrame(rows).sort_values(["reference", "split"])


def runs_frame(runs: list["Run"]) -> pd.DataFrame:
    """Every run with how it ended and, where it failed, the last line of its error."""
    rows = [
        {
            "run_id": run.info.run_id,
            "kind": run.data.tags.get(Tag.KIND, ""),
            "study": run.data.tags.get(Tag.STUDY, ""),
            "mode": run.data.tags.get(Tag.MODE) or run.data.tags.get(Tag.REFERENCE) or "",
            "setting": run.data.tags.get(Tag.SETTING, ""),
            "index": run.data.tags.get(Tag.TRIAL) or run.data.tags.get(Tag.SPLIT) or "",
            "seed": run.data.tags.get(Tag.SEED, ""),
            "status": run.data.tags.get(Tag.STATE, run.info.status),
            "checkpoint": run.data.tags.get(Tag.CHECKPOINT, ""),
            "seconds": _seconds(run),
            "error": last_line(run.data.tags.get(Tag.ERROR, "")),
        }
        for run in runs
    ]
    return pd.DataFrame(rows)


def _seconds(run: "Run") -> float | None:
    if run.info.end_time is None:
        return None
    return (run.info.end_time - run.info.start_time) / 1000.0
