"""Files of runs: their test predictions as one frame, and the thumbnails that they left."""

from collections.abc import Hashable
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import pandas as pd

from qa_core.records.schema import PREDICTIONS_FILE

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PREDICTION_TEXT = ("name", "prompt", "group", "generator")


def read_artifacts(
    client: "MlflowClient", cells: pd.DataFrame, names: tuple[str, ...], downloads: Path | None
) -> tuple[pd.DataFrame, dict[tuple[str, int], Path]]:
    """Predictions of all cells in one frame, and the thumbnails that they left."""
    frames: list[pd.DataFrame] = []
    thumbnails: dict[tuple[str, int], Path] = {}
    keys = ["run_id", *names, "split"]
    for cell in cells.to_dict("records"):
        folder = _artifact_folder(client, cell["run_id"], cell["artifact_uri"], downloads)
        if (folder / PREDICTIONS_FILE).exists():
            told = {key: cell[key] for key in keys} | {"seed": cell.get("seed", 0)}
            frames.append(_read_predictions(folder / PREDICTIONS_FILE).assign(**told))
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
    for name in sorted(present & {"thumbnails", PREDICTIONS_FILE}):
        download_artifacts(
            run_id=run_id,
            artifact_path=name,
            dst_path=str(folder),
            tracking_uri=client.tracking_uri,
        )
    return folder
