"""The ablation's champion: chosen on validation alone, registered so that it can be served."""

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from qa_core.arms import CONTROLS
from qa_core.records.schema import Kind, Tag, is_confirmation, is_finished
from qa_core.records.tracking import Tracker

if TYPE_CHECKING:
    from mlflow.entities import Run


def register_champion(tracker: Tracker) -> str | None:
    """Register the champion of the tracker's ablation; its address, None without any checkpoint.

    Registered once: an ablation that has its champion keeps it.
    """
    from mlflow.artifacts import download_artifacts

    from qa_core.serving.champion import register_model

    ablation_id = tracker.ablation_id
    assert ablation_id is not None
    known = tracker.client.get_run(ablation_id).data.tags.get(Tag.CHAMPION)
    if known is not None:
        return known
    cell = choose_champion(tracker.runs(Kind.CONFIRMATION))
    if cell is None:
        return None
    checkpoint = download_artifacts(
        run_id=cell.info.run_id,
        artifact_path=f"checkpoint/{cell.data.tags[Tag.CHECKPOINT]}",
        tracking_uri=tracker.uri,
    )
    address = register_model(tracker.uri, ablation_id, checkpoint)
    tracker.log(ablation_id, tags={Tag.CHAMPION: address, Tag.CHAMPION_RUN: cell.info.run_id})
    return address


def choose_champion(cells: "list[Run]") -> "Run | None":
    """The best cell on validation of the mode and setting that is best in the mean over splits.

    Test parts have no say: a champion chosen on them would make its own test score too good. A
    control is there to be compared with, not to be served.
    """
    settings: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for cell in cells:
        if cell.data.tags[Tag.MODE] in CONTROLS:
            continue
        if is_confirmation(cell) and is_finished(cell) and Tag.CHECKPOINT in cell.data.tags:
            settings[cell.data.tags[Tag.MODE], cell.data.tags[Tag.SETTING]].append(cell)
    if not settings:
        return None
    best = max(settings.values(), key=lambda runs: np.mean([_selection(run) for run in runs]))
    return max(best, key=_selection)


def _selection(cell: "Run") -> float:
    return cell.data.metrics["best_selection"]
