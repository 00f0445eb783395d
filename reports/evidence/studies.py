"""Designed studies from MLflow: the points that a study lists, with their cells."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd

from qa_core.records.schema import (
    Kind,
    StudyName,
    Tag,
    is_finished,
    is_kind,
)
from qa_core.records.study_listing import StudyListing, StudyPoint
from reports.evidence.design import Design
from reports.evidence.frames import final_metrics, per_split, select

if TYPE_CHECKING:
    from mlflow.entities import Run

ORDER: tuple[StudyName, ...] = get_args(StudyName)
_COLUMNS = ("point", "varies", "mode", "train_share", "lr", "pool", "split", "run_id")


@dataclass(frozen=True)
class Study:
    """A designed study as a tidy frame.

    Attributes:
        name: Its name on the command line.
        question: What it asks.
        epochs: Epochs of each cell.
        design: How the splits that it uses hang together.
        cells: One row a point and split that has a result: point (number), varies (names of its
            knobs, comma between), mode, train_share, lr, pool (mean selection metric on the tuning
            pool, NaN where it was not run), split, run_id, the knobs, and the final metrics.
        n_listed: Number of points times splits.
        grid: Rate, scale and score on the pool of every setting that trained together, the guide's
            first; empty where the study has no such grid.
        predictions: Test predictions of all cells where intervals rest on prompts, else empty.
    """

    name: str
    question: str
    epochs: int
    design: Design
    cells: pd.DataFrame
    n_listed: int
    grid: tuple[tuple[float, float, float | None], ...] = ()
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def n_splits(self) -> int:
        """Splits that it uses."""
        return self.design.n_splits

    def values(self, measure: str, **where: object) -> pd.Series:
        """One value a split of the cells whose columns equal these; index = split."""
        return per_split(select(self.cells, **where), measure)


def read_studies(runs: Sequence["Run"], design: Design) -> dict[str, Study]:
    """The studies among an ablation's runs, by name, in the order of the report.

    Args:
        runs: The ablation's.
        design: Of its splits, of which a study takes the first ones.
    """
    cells = {
        run.data.tags[Tag.IDENTITY]: run
        for run in reversed(runs)
        if is_kind(run, Kind.CONFIRMATION) and is_finished(run) and Tag.IDENTITY in run.data.tags
    }
    found = {
        run.data.tags[Tag.STUDY]: _study(run.data.tags, listing, cells, design)
        for run in runs
        if is_kind(run, Kind.STUDY) and (listing := StudyListing.from_tags(run.data.tags))
    }
    return {name: found[name] for name in ORDER if name in found}


def _study(
    tags: dict[str, str], listing: StudyListing, cells: dict[str, "Run"], design: Design
) -> Study:
    rows = [
        _row(number, point, split, cells[identity])
        for number, point in enumerate(listing.points)
        for split, identity in enumerate(point.cells)
        if identity in cells
    ]
    return Study(
        name=tags[Tag.STUDY],
        question=tags[Tag.QUESTION],
        epochs=listing.epochs,
        design=replace(design, n_splits=listing.n_splits, test_factor=listing.variance_factor),
        cells=pd.DataFrame(rows) if rows else pd.DataFrame(columns=pd.Index(_COLUMNS)),
        n_listed=sum(len(point.cells) for point in listing.points),
        grid=tuple(row for point in listing.points for row in point.grid),
    )


def _row(number: int, point: StudyPoint, split: int, run: "Run") -> dict[str, Any]:
    return {
        **final_metrics(run),  # first: its own `lr` is that of the last step
        "point": number,
        "varies": ",".join(point.knobs),
        "mode": point.mode,
        "lr": point.lr,
        "pool": float("nan") if point.pool is None else point.pool,
        "split": split,
        "run_id": run.info.run_id,
        "artifact_uri": run.info.artifact_uri,
        "train_share": point.train_share,
        **point.knobs,
    }
