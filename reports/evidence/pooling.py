"""Which runs may be pooled: none twice, and none that was tested on other images."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from qa_core.errors import UserError
from qa_core.records.schema import Kind, Tag, is_confirmation, is_finished, is_kind
from qa_core.targets import TARGETS

if TYPE_CHECKING:
    from mlflow.entities import Run

_PLACE = (
    *(Tag.KIND, Tag.MODE, Tag.REFERENCE),
    *(Tag.SETTING, Tag.SPLIT, Tag.SEED),
)
_OF_THE_MACHINE = ("seconds_per_epoch", "wall_s", "peak_memory_mb")
"""Metrics that differ from a run to its repetition."""


def settle_doubles(runs: Sequence["Run"]) -> list["Run"]:
    """The runs, those that tell the same result of the same place once, the first of them.

    Raises:
        UserError: Two finished runs tell different results of one place.
    """
    places: defaultdict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        # a study finds its cells by identity, so that none of them counts twice
        if is_finished(run) and (is_confirmation(run) or is_kind(run, Kind.REFERENCE)):
            places[tuple(run.data.tags.get(name, "") for name in _PLACE)].append(run)
    repeated: set[str] = set()
    for place, found in places.items():
        first, *others = sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))
        for other in others:
            if _result(other) != _result(first):
                words = " ".join(part for part in place if part)
                raise UserError(
                    f"Runs {first.info.run_id} and {other.info.run_id} tell different results of"
                    f" one place ({words}), and only one of them belongs to this ablation: delete"
                    " the other in MLflow, then build the report again."
                )
            repeated.add(other.info.run_id)
    return [run for run in runs if run.info.run_id not in repeated]


def _result(run: "Run") -> dict[str, float]:
    """The measures, without what the machine adds."""
    return {k: v for k, v in run.data.metrics.items() if k not in _OF_THE_MACHINE}


def refuse_mixed(predictions: pd.DataFrame) -> None:
    """Refuse runs that were tested on other images, or on other opinions of the same.

    Raises:
        UserError: They come from different data or splits, so they cannot be paired.
    """
    if predictions.empty:
        return
    scores = [target.mos for target in TARGETS if target.mos in predictions]
    images: Any = predictions.drop_duplicates(["row", "name", *scores])
    if images["row"].duplicated().any():
        raise UserError(
            "Runs of this ablation tell different images or opinions of the same row "
            f"({images.loc[images['row'].duplicated(), 'name'].iloc[0][:60]}): they come from "
            "different data and are never pooled. Give each data set its own OUT."
        )
    # a tuned setting is tested outside the tuning pool, the guide's on all
    for _, own in predictions.groupby(["split", "setting"]):
        split = own["split"].iloc[0]
        tested = {run: frozenset(part["row"]) for run, part in own.groupby("run_id")}
        if len(set(tested.values())) > 1:
            raise UserError(
                f"Runs of this ablation tested different images in split {split}: they come from "
                "different splits and cannot be paired. Give each protocol its own OUT."
            )
