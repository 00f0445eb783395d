"""Files of runs: their test predictions as one frame, and the thumbnails that they left."""

from collections.abc import Hashable
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import pandas as pd

from qa_core.errors import UserError
from qa_core.targets import TARGETS

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PREDICTION_TEXT = ("name", "prompt", "group", "generator")


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


def read_artifacts(
    client: "MlflowClient", cells: pd.DataFrame, names: tuple[str, ...], downloads: Path | None
) -> tuple[pd.DataFrame, dict[tuple[str, int], Path]]:
    """Predictions of all cells in one frame, and the thumbnails that they left."""
    frames: list[pd.DataFrame] = []
    thumbnails: dict[tuple[str, int], Path] = {}
    keys = ["run_id", *names, "split"]
    for cell in cells.to_dict("records"):
        folder = _artifact_folder(client, cell["run_id"], cell["artifact_uri"], downloads)
        if (folder / "predictions.csv").exists():
            told = {key: cell[key] for key in keys} | {"seed": cell.get("seed", 0)}
            frames.append(_read_predictions(folder / "predictions.csv").assign(**told))
        for path in sorted((folder / "thumbnails").glob("*.jpg")):
            if path.stem.isdecimal():  # a row's number; what else may lie there is not ours
                thumbnails[cell["run_id"], int(path.stem)] = path
    predictions = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    return predictions, thumbnails


def _read_predictions(path: Path) -> pd.DataFrame:
    """One run's test predictions; a prompt that reads "NA" or "null" stays text."""
    texts: dict[Hashable, Any] = dict.fromkeys(PREDICTION_TEXT, str)
    columns = pd.read_csv(path, nrows=0).columns
    empty = {column: [""] for column in columns if column not in PREDICTION_TEXT}
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=empty)


def _artifact_folder(client: "MlflowClient", run_id: str, uri: str, downloads: Path | None) -> Path:
    """Folder with a run's predictions and thumbnails, fetched first where the store is remote.

    Nothing else is fetched: checkpoints are large and are not needed.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.utils.file_utils import local_file_uri_to_path

    if urlparse(uri).scheme in ("", "file"):
        return Path(local_file_uri_to_path(uri))
    folder = Path(mkdtemp(prefix="report-", dir=downloads))
    present = {entry.path for entry in client.list_artifacts(run_id)}
    for name in sorted(present & {"thumbnails", "predictions.csv"}):
        download_artifacts(
            run_id=run_id,
            artifact_path=name,
            dst_path=str(folder),
            tracking_uri=client.tracking_uri,
        )
    return folder
