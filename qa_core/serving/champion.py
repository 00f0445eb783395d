"""A trained model in MLflow's registry, ready for `mlflow models serve`."""

import contextlib
import importlib.metadata
import io
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from qa_core.errors import UserError
from qa_core.records.mlflow_store import open_client, open_store

REGISTERED_NAME, ALIAS = "clip-qa", "champion"
_CHECKPOINT = "checkpoint.pt"
_SERVED = Path(__file__).with_name("served_model.py")
_REQUIREMENTS = ("clip-qa", "mlflow", "torch", "torchvision", "open_clip_torch")


def find_checkpoint(path: Path) -> Path:
    """A checkpoint, or that of the champion where an ablation's folder is given.

    A folder of one run gives its best checkpoint.

    Raises:
        UserError: The folder has none, or several and no champion, or not yet one.
    """
    if not path.is_dir():
        return path
    best = sorted(path.glob("*_best.pt"))
    if len(best) == 1:
        return best[0]
    if (path / "mlflow.db").is_file():
        return next(champion_folder(path).rglob(_CHECKPOINT))
    names = f" ({', '.join(file.name for file in best)})" if best else ""
    raise UserError(
        f"--checkpoint {path} is a folder with {len(best)} best checkpoints{names} and without the"
        " champion of an ablation; give a checkpoint."
    )


def champion_folder(out: Path) -> Path:
    """The folder of an ablation's champion, as MLflow serves it.

    The store names it by the place where it was made; an ablation that was moved or copied has it
    in itself.

    Raises:
        UserError: There is none, or its files are gone.
    """
    client = open_client(open_store(out))
    from mlflow.exceptions import MlflowException
    from mlflow.utils.file_utils import local_file_uri_to_path

    try:
        version = client.get_model_version_by_alias(REGISTERED_NAME, ALIAS)
    except MlflowException:  # there is none by this name
        raise UserError(
            f"{out} has no champion yet: it is there once an ablation is complete."
        ) from None
    # by the version's own source, MLflow would look in its global store, whatever it is told here
    made = client.get_model_version_download_uri(REGISTERED_NAME, version.version)
    _, _, within = made.rpartition("/artifacts/models/")
    folders = (out / "artifacts" / "models" / within, Path(local_file_uri_to_path(made)))
    found = next((one for one in folders if any(one.rglob(_CHECKPOINT))), None)
    if found is None:
        raise UserError(f"{out} names a champion, but its files are gone: {folders[0]}.")
    return found


def register_model(uri: str, run_id: str, checkpoint: Path | str) -> str:
    """Log a checkpoint as MLflow model of a run and register it, once a run; returns its address.

    Models from code: MLflow keeps `served_model.py`, and our own checkpoint, with the whole model
    in it, is its only artifact. The registered version becomes the alias `champion`.

    Args:
        uri: Address of the MLflow store.
        run_id: The run that the model belongs to.
        checkpoint: A checkpoint of any kind.
    """
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    client = mlflow.MlflowClient(uri, uri)
    there = client.search_model_versions(f"name = '{REGISTERED_NAME}' and run_id = '{run_id}'")
    version = str(there[0].version) if there else _register(run_id, Path(checkpoint))
    client.set_registered_model_alias(REGISTERED_NAME, ALIAS, version)
    return f"models:/{REGISTERED_NAME}@{ALIAS}"


def _register(run_id: str, checkpoint: Path) -> str:
    """Log and register; returns the version. The store is MLflow's global one."""
    import mlflow
    from mlflow.models import infer_signature

    from qa_core.model.checkpoint import write_whole  # torch: who only serves needs none here
    from qa_core.scorer import Scorer

    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / _CHECKPOINT
        write_whole(checkpoint, whole)
        scorer, example = Scorer.load(whole, "cpu"), _example()
        answer = scorer.score(example["image"].tolist(), example["prompt"].tolist())
        if not scorer.needs_prompts:
            example = example.drop(columns="prompt")
        # MLflow prints what the caller says better
        with mlflow.start_run(run_id=run_id), contextlib.redirect_stderr(io.StringIO()):
            logged = mlflow.pyfunc.log_model(
                name=ALIAS,
                python_model=str(_SERVED),
                artifacts={"checkpoint": str(whole)},
                signature=infer_signature(example, answer),
                input_example=example,
                registered_model_name=REGISTERED_NAME,
                pip_requirements=[f"{n}=={importlib.metadata.version(n)}" for n in _REQUIREMENTS],
            )
    return str(logged.registered_model_version)


def _example() -> pd.DataFrame:
    """One grey image with a prompt, as a request has them."""
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 128, np.uint8)).save(file, "PNG")
    return pd.DataFrame({"image": [file.getvalue()], "prompt": ["a grey square"]})
