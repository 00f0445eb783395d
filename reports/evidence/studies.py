"""Designed studies from MLflow: the points that a study lists, with their cells."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from reports.evidence.frames import is_finished, is_kind, per_split, select

if TYPE_CHECKING:
    from mlflow.entities import Run

ORDER = ("depth", "scale", "data_size", "batch_size", "lr", "variants", "heads")
CONFIRM = "confirm"
_COLUMNS = ("point", "varies", "mode", "train_share", "lr", "pool", "split", "run_id")


@dataclass(frozen=True)
class Study:
    """A designed study as a tidy frame.

    Attributes:
        name: Its name on the command line.
        question: What it asks.
        epochs: Epochs of each cell.
        n_splits: Splits that it uses.
        planned_factor: Nadeau-Bengio factor of so many splits.
        cells: One row a point and split that has a result: point (number), varies (names of its
            knobs, comma between), mode, train_share, lr, pool (mean selection metric on the tuning
            pool, NaN where it was not run), split, run_id, the knobs, and the final metrics.
        n_listed: Number of points times splits.
        grid: Rate, scale and score on the pool of every setting that trained together, the guide's
            first; empty where the study has no such grid.
    """

    name: str
    question: str
    epochs: int
    n_splits: int
    planned_factor: float
    cells: pd.DataFrame
    n_listed: int
    grid: tuple[tuple[float, float, float | None], ...] = ()

    def variance_factor(self, n: int) -> float:
        """Nadeau-Bengio factor of n splits' values, as `Ablation.variance_factor`."""
        return self.planned_factor - 1 / self.n_splits + 1 / n

    def values(self, measure: str, **where: object) -> pd.Series:
        """One value a split of the cells whose columns equal these; index = split."""
        return per_split(select(self.cells, **where), measure)


def is_confirmation(run: "Run") -> bool:
    """Whether a run confirms a mode; cells that only a study asked for do not."""
    return is_kind(run, "confirmation") and run.data.tags.get("study", CONFIRM) == CONFIRM


def read_studies(runs: Sequence["Run"]) -> dict[str, Study]:
    """The studies among an ablation's runs, by name, in the order of the report."""
    cells = {
        run.data.tags["identity"]: run
        for run in reversed(runs)
        if is_kind(run, "confirmation") and is_finished(run) and "identity" in run.data.tags
    }
    found = {
        run.data.tags["study"]: _study(run.data.tags, cells)
        for run in runs
        if is_kind(run, "study") and "n_splits" in run.data.tags
    }
    return {name: found[name] for name in ORDER if name in found}


def _study(tags: dict[str, str], cells: dict[str, "Run"]) -> Study:
    points = [json.loads(tags[name]) for name in sorted(tags) if name.startswith("point.")]
    rows = [
        _row(number, point, split, cells[identity])
        for number, point in enumerate(points)
        for split, identity in enumerate(point["cells"])
        if identity in cells
    ]
    return Study(
        name=tags["study"],
        question=tags["question"],
        epochs=int(tags["epochs"]),
        n_splits=int(tags["n_splits"]),
        planned_factor=float(tags["variance_factor"]),
        cells=pd.DataFrame(rows) if rows else pd.DataFrame(columns=pd.Index(_COLUMNS)),
        n_listed=sum(len(point["cells"]) for point in points),
        grid=tuple((r, s, score) for point in points for r, s, score in point.get("grid", ())),
    )


def _row(number: int, point: dict[str, Any], split: int, run: "Run") -> dict[str, Any]:
    return {
        **run.data.metrics,  # first: its own `lr` is that of the last step
        "point": number,
        "varies": ",".join(point["knobs"]),
        "mode": point["mode"],
        "lr": point["lr"],
        "pool": float("nan") if point["pool"] is None else point["pool"],
        "split": split,
        "run_id": run.info.run_id,
        "train_share": point["train_share"],
        **point["knobs"],
    }
