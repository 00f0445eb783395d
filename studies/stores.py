"""Where the records of an ablation lie: in its folder, or in a server and a database.

An ablation in its folder keeps `mlflow.db`, `artifacts` and `optuna.db` there. One at addresses has
an experiment of the folder's name in MLflow and its studies in PostgreSQL, so that any machine can
go on with it.
"""

import contextlib
import os
import socket
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from qa_core.errors import UserError
from qa_core.records.mlflow_store import experiment_name, refuse_silence
from qa_core.records.tracking import Tracker
from qa_core.system.files import sqlite_address
from qa_core.system.locking import sole_owner
from studies.sweep import Journals

if TYPE_CHECKING:
    from mlflow.entities import Run

_DRIVER = "postgresql+psycopg"
_STORAGE_TAG = "optuna_storage"
_TO_CONNECT_S = 10
# If the driver's machine loses power, its lock on the ablation ends within a minute.
_KEEPALIVE = " ".join(
    f"-c tcp_keepalives_{name}={seconds}"
    for name, seconds in (("idle", 30), ("interval", 10), ("count", 3))
)


@dataclass(frozen=True)
class Stores:
    """The stores of an ablation; addresses hold no password.

    Attributes:
        out: Its folder.
        tracking_uri: Address of an MLflow server, or None.
        optuna_storage: Address of a PostgreSQL database for SQLAlchemy, or None.
    """

    out: Path
    tracking_uri: str | None = None
    optuna_storage: str | None = None

    @property
    def place(self) -> str:
        """Where the ablation is, in words."""
        here = self.tracking_uri is None
        return str(self.out) if here else f"{self._name} on {self.tracking_uri}"

    @property
    def _name(self) -> str:
        return experiment_name(self.tracking_uri, self.out)

    def open_tracker(self) -> Tracker:
        """The way to MLflow; experiment and tables are created where missing.

        Raises:
            UserError: No server answers.
        """
        return Tracker.open(self.out, self.tracking_uri)

    def journals(self, ablation_id: str) -> Journals:
        """The way to Optuna, where a database may hold many ablations."""
        if self.optuna_storage is None:
            return Journals(sqlite_address(self.out / "optuna.db"))
        return Journals(self.optuna_storage, f"{self._name} {ablation_id[:8]}/")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A context with the ablation locked against other commands, on this machine or another.

        Raises:
            UserError: Another one is at work on it, or server or database do not answer.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            stack.enter_context(sole_owner(self.out / ".ablation.lock", "An ablation"))
            if self.tracking_uri is not None and self.optuna_storage is not None:
                refuse_silence(self.tracking_uri)
                stack.enter_context(sole_session(self.optuna_storage, self._name))
            yield

    def claim(self, tracker: Tracker, ablation: "Run") -> None:
        """Bind an ablation on a server to its database, which keeps two commands apart.

        Raises:
            UserError: It is bound to another one.
        """
        if self.optuna_storage is None:
            return
        bound = ablation.data.tags.get(_STORAGE_TAG)
        if bound is None:
            tracker.log(ablation.info.run_id, tags={_STORAGE_TAG: self.optuna_storage})
        elif bound != self.optuna_storage:
            raise UserError(
                f"{self.place} keeps its trials in {_plain(bound)}, not in"
                f" {_plain(self.optuna_storage)}: give that as OPTUNA_STORAGE, or choose another"
                " folder with OUT=."
            )


def stores_of(
    out: Path,
    tracking_uri: str | None,
    optuna_storage: str | None,
    environment: MutableMapping[str, str] = os.environ,
) -> Stores:
    """The stores that flags name; passwords are moved from addresses to environment variables.

    So no address that is shown or logged contains one.

    Raises:
        UserError: The flags make no sense.
    """
    if tracking_uri is None and optuna_storage is None:
        return Stores(out)
    if tracking_uri is None or optuna_storage is None:
        raise UserError(
            "TRACKING_URI=http://… and OPTUNA_STORAGE=postgresql://… go together: leave out both"
            " (the records are kept in OUT) or none."
        )
    if urlsplit(tracking_uri).scheme not in ("http", "https"):
        raise UserError("TRACKING_URI has to be an MLflow server's address, http://HOST:PORT.")
    if urlsplit(optuna_storage).scheme not in ("postgresql", "postgres", _DRIVER):
        raise UserError("OPTUNA_STORAGE has to be postgresql://USER@HOST:PORT/DATABASE.")
    server, user, password = _without_login(tracking_uri)
    login = {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    database, user, login["PGPASSWORD"] = _without_login(optuna_storage)
    environment.update({name: value for name, value in login.items() if value is not None})
    parts = urlsplit(database)
    netloc = f"{user}@{parts.netloc}" if user else parts.netloc
    return Stores(out, server, urlunsplit(parts._replace(scheme=_DRIVER, netloc=netloc)))


def _without_login(address: str) -> tuple[str, str | None, str | None]:
    """An address without user and password, and both of them, the password decoded."""
    parts = urlsplit(address)
    if "password=" in parts.query:
        raise UserError("A password after the ? of an address would be shown: see docs/cluster.md.")
    host = parts.netloc.rpartition("@")[2]
    password = None if parts.password is None else unquote(parts.password)
    return urlunsplit(parts._replace(netloc=host)).rstrip("/"), parts.username, password


def _plain(address: str) -> str:
    return address.replace(_DRIVER, "postgresql", 1)


@contextlib.contextmanager
def sole_session(address: str, name: str) -> Iterator[None]:
    """A context with a database's lock of this name; it ends with the connection.

    Raises:
        UserError: Another session holds it, or the database cannot be reached.
    """
    try:
        import psycopg
    except ImportError as error:
        raise UserError(
            f"OPTUNA_STORAGE needs psycopg ({error}): make setup installs it."
        ) from error
    who = f"clip-qa on {socket.gethostname()}, process {os.getpid()}"
    try:
        session = psycopg.connect(
            _plain(address),
            autocommit=True,
            connect_timeout=_TO_CONNECT_S,
            application_name=who[:63],  # PostgreSQL cuts there
            options=_KEEPALIVE,
        )
    except psycopg.OperationalError as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(f"The database {_plain(address)} cannot be used: {reason}.") from error
    with session:
        row = session.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (name,)
        ).fetchone()
        if row != (True,):
            raise UserError(
                f"Another command is at work on {name} in {_plain(address)}. Wait for it to end, or"
                " choose another folder with OUT=."
            )
        yield
