"""Files of runs: test predictions as one frame, and what is told and shown of the images."""

from collections.abc import Hashable
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import pandas as pd

from qa_core.records.images import read_images, read_thumbnails
from qa_core.records.schema import IMAGES_FILE, PREDICTIONS_FILE, THUMBNAILS_FILE

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
        wanted = ("thumbnails", PREDICTIONS_FILE)
        folder = _artifact_folder(client, cell["run_id"], cell["artifact_uri"], downloads, wanted)
        if (folder / PREDICTIONS_FILE).exists():
            told = {key: cell[key] for key in keys} | {"seed": cell.get("seed", 0)}
            frames.append(_read_predictions(folder / PREDICTIONS_FILE).assign(**told))
        for path in sorted((folder / "thumbnails").glob("*.jpg")):
            if path.stem.isdecimal():  # a row's number; what else may lie there is not ours
                thumbnails[cell["run_id"], int(path.stem)] = path
    predictions = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    return predictions, thumbnails


def read_tested_images(
    client: "MlflowClient", run_id: str, uri: str, downloads: Path | None
) -> tuple[pd.DataFrame, dict[int, bytes]]:
    """What an ablation's table says of each tested image, and small pictures, both by row.

    Nothing where an earlier version wrote the ablation.
    """
    names = (IMAGES_FILE, THUMBNAILS_FILE)
    folder = _artifact_folder(client, run_id, uri, downloads, names)
    table, pictures = (folder / name for name in names)
    return (
        read_images(table) if table.exists() else pd.DataFrame(),
        read_thumbnails(pictures) if pictures.exists() else {},
    )


def _read_predictions(path: Path) -> pd.DataFrame:
    """One run's test predictions; a prompt that reads "NA" or "null" stays text."""
    texts: dict[Hashable, Any] = dict.fromkeys(PREDICTION_TEXT, str)
    columns = pd.read_csv(path, nrows=0).columns
    empty = {column: [""] for column in columns if column not in PREDICTION_TEXT}
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=empty)


def _artifact_folder(
    client: "MlflowClient", run_id: str, uri: str, downloads: Path | None, wanted: tuple[str, ...]
) -> Path:
    """Folder with a run's files, of which those that are wanted are fetched from a remote store."""
    from mlflow.artifacts import download_artifacts
    from mlflow.utils.file_utils import local_file_uri_to_path

    if urlparse(uri).scheme in ("", "file"):
        return Path(local_file_uri_to_path(uri))
    folder = Path(mkdtemp(prefix="report-", dir=downloads))
    present = {entry.path for entry in client.list_artifacts(run_id)}
    for name in sorted(present & set(wanted)):
        download_artifacts(
            run_id=run_id,
            artifact_path=name,
            dst_path=str(folder),
            tracking_uri=client.tracking_uri,
        )
    return folder
