"""Where records lie: addresses without passwords, and workers that would not fit the driver."""

import socket
from pathlib import Path

import pytest

from qa_core.errors import UserError
from qa_core.records.mlflow_store import (
    EXPERIMENT,
    experiment_name,
    open_client,
    open_experiment,
    open_store,
    settle_environment,
)
from studies.context import refuse_differences, refuse_far_file
from studies.engine.interface import InfrastructureError
from studies.stores import Stores, sole_session, stores_of

OUT = Path("runs/avt")


def test_without_addresses_the_records_are_in_the_folder() -> None:
    environment: dict[str, str] = {}
    stores = stores_of(OUT, None, None, environment)
    assert stores.place == "runs/avt" and environment == {}
    assert stores.journals("0123456789").address.endswith("/runs/avt/optuna.db")
    assert stores.journals("0123456789").prefix == ""
    assert experiment_name(None, OUT) == experiment_name("sqlite:///x.db", OUT) == EXPERIMENT


def test_passwords_leave_the_addresses() -> None:
    environment: dict[str, str] = {}
    stores = stores_of(
        OUT,
        "http://ann:s3c%40ret@h:5000/",
        "postgresql://bob:pass%2Fword@db:5433/optuna",
        environment,
    )
    assert stores.tracking_uri == "http://h:5000"
    assert stores.optuna_storage == "postgresql+psycopg://bob@db:5433/optuna"
    assert stores.place == "avt on http://h:5000"
    assert stores.journals("0123456789").prefix == "avt 01234567/"
    assert environment == {
        "MLFLOW_TRACKING_USERNAME": "ann",
        "MLFLOW_TRACKING_PASSWORD": "s3c@ret",
        "PGPASSWORD": "pass/word",
    }


def test_a_password_that_would_be_shown_is_refused() -> None:
    with pytest.raises(UserError, match="password after"):
        stores_of(OUT, "http://h", "postgresql://db/optuna?password=secret", {})


def test_a_silent_server_is_told_in_a_sentence() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UserError, match=f"No MLflow server answers at {uri}"):
            open_experiment(uri, "avt")


def test_a_silent_database_is_told_in_a_sentence() -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed (make setup installs it)")
    with (
        pytest.raises(UserError, match="cannot be used") as refusal,
        sole_session("postgresql+psycopg://bob@127.0.0.1:1/optuna", "avt"),
    ):
        pass
    assert "postgresql://bob@127.0.0.1:1/optuna" in str(refusal.value)


def test_a_worker_with_other_data_or_versions_is_refused() -> None:
    driver = {"data": "aa", "torch": "2.15", "host": "a"}
    refuse_differences(driver, driver | {"host": "b"})
    with pytest.raises(InfrastructureError, match=r"torch is 2\.14 there and 2\.15 where"):
        refuse_differences(driver, driver | {"torch": "2.14"})


def test_an_sqlite_file_is_for_one_machine() -> None:
    here, elsewhere = {"host": socket.gethostname()}, {"host": "elsewhere"}
    refuse_far_file("sqlite:////out/mlflow.db", here)
    refuse_far_file("http://h:5000", elsewhere)
    with pytest.raises(InfrastructureError, match="TRACKING_URI"):
        refuse_far_file("sqlite:////out/mlflow.db", elsewhere)


def test_a_store_lies_in_its_folder_whatever_that_is_called(tmp_path: Path) -> None:
    name = "why? no#1 50%20off ü 名"
    out = tmp_path / "runs" / name
    uri = open_store(out)
    client = open_client(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    run = client.create_run(experiment.experiment_id)
    client.log_text(run.info.run_id, "here", "note.txt")
    Stores(out).journals("0123456789").open("residual")
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {name}
    assert {"mlflow.db", "optuna.db"} <= {path.name for path in out.iterdir()}
    assert [path.read_text() for path in out.rglob("note.txt")] == ["here"]


def test_the_shells_settings_of_mlflow_do_not_reach_it() -> None:
    shell = {
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        "MLFLOW_TRACKING_URI": "http://elsewhere",
        "MLFLOW_TRACKING_TOKEN": "mine",
        "MLFLOW_DISABLE_TELEMETRY": "false",
        "PATH": "/bin",
    }
    settle_environment(shell)
    assert shell.pop("MLFLOW_TRACKING_TOKEN") == "mine" and shell.pop("PATH") == "/bin"
    assert shell == {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "GIT_PYTHON_REFRESH": "quiet",
    }
