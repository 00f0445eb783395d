"""The MLflow store of a folder: created in one step, opened without MLflow's own messages."""

import functools
import logging
import os
import urllib.error
import urllib.request
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING

from qa_core.errors import UserError
from qa_core.system.files import sqlite_address
from qa_core.system.locking import waiting_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "ablation"
_TO_ANSWER_S = 10.0
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
_OF_THE_USER = ("MLFLOW_TRACKING_", "MLFLOW_S3_")


def open_store(out: Path) -> str:
    """Address of the MLflow store in a folder, created where missing.

    Tables created by two processes at once, or half created, would break a store for good. So one
    process creates them, under a lock, in a file of another name that is renamed when whole.
    """
    out.mkdir(parents=True, exist_ok=True)
    store = out.resolve() / "mlflow.db"
    if not store.exists():
        with waiting_lock(out / ".mlflow.lock"):
            if not store.exists():
                _create_store(store)
    return sqlite_address(store)


def experiment_name(tracking_uri: str | None, out: Path) -> str:
    """Name of an ablation's experiment: a server has one a folder, by the folder's name."""
    at_server = tracking_uri is not None and tracking_uri.startswith(("http:", "https:"))
    return out.resolve().name if at_server else EXPERIMENT


def open_experiment(uri: str, name: str) -> str:
    """Id of a server's experiment, created where missing.

    Raises:
        UserError: No server answers, or the experiment was deleted.
    """
    refuse_silence(uri)
    client = open_client(uri)
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return client.create_experiment(name)
        except MlflowException as error:  # another command was quicker
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise error
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"The experiment {name} on {uri} was deleted: restore it there, or choose another"
            " folder with OUT=."
        )
    return experiment.experiment_id


def refuse_silence(uri: str) -> None:
    """Find out in seconds whether a server answers; MLflow would try for minutes.

    Raises:
        UserError: It does not.
    """
    try:
        urllib.request.urlopen(f"{uri}/health", timeout=_TO_ANSWER_S).close()
    except urllib.error.HTTPError:
        pass  # it answers
    except (OSError, ValueError) as error:
        raise UserError(
            f"No MLflow server answers at {uri} ({getattr(error, 'reason', error)}): start one, as"
            " docs/cluster.md shows, or leave out TRACKING_URI."
        ) from error


def _create_store(store: Path) -> None:
    import_quietly()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    half = store.with_name("mlflow.db.new")
    half.unlink(missing_ok=True)
    artifacts = (store.parent / "artifacts").as_uri()
    whole = SqlAlchemyStore(sqlite_address(half), artifacts)
    whole.create_experiment(EXPERIMENT, artifact_location=artifacts)
    whole.engine.dispose()
    os.replace(half, store)


def open_client(uri: str) -> "MlflowClient":
    """A client of the store at this address.

    Raises:
        UserError: What lies there is no store, or one of another version of MLflow.
    """
    import_quietly()
    import mlflow
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return mlflow.MlflowClient(uri)
    except (mlflow.MlflowException, SQLAlchemyError) as error:
        reason = str(error).strip().splitlines()[0]
        if "out-of-date database schema" in reason:
            raise UserError(
                f"{uri} is of another version of MLflow than {mlflow.__version__}: choose another"
                f" folder, or copy the file and run .venv/bin/mlflow db upgrade {uri}"
            ) from error
        raise UserError(f"{uri} cannot be opened as an MLflow store: {reason}") from error


def settle_environment(environment: MutableMapping[str, str]) -> None:
    """Set what MLflow reads from the environment; take out what the user's shell says besides.

    What tells who the user is at a server, and how to reach its files, stays.
    """
    for name in [name for name in environment if name.startswith("MLFLOW_")]:
        if name == "MLFLOW_TRACKING_URI" or not name.startswith(_OF_THE_USER):
            del environment[name]
    environment.update(_SETTINGS)


@functools.cache
def import_quietly() -> None:
    """Import MLflow without its telemetry and remarks about git, database versions and the like."""
    settle_environment(os.environ)
    import mlflow  # configures its loggers on import, so they are lowered afterwards

    del mlflow
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # It would print the traceback of every error that it raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
