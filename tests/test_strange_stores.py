"""Servers and stores that answer anything at all: every command says so in a sentence."""

import http.server
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from report_fixture import Made, make_ablation

from qa_core.errors import UserError, in_words
from qa_core.records.schema import Kind
from qa_core.records.tracking import Tracker
from qa_core.system.files import sqlite_address
from reports.evidence.load import load_ablation
from studies.state import read_states

ANSWERS = {
    "a page": (200, b"<html>hello</html>"),
    "a list": (200, b"[]"),
    "nothing": (200, b"null"),
    "half of it": (200, b'{"experiment":'),
    "too deep": (200, b'{"a":' * 100_000),
    "another type": (200, b'{"experiment": {"experiment_id": 5}}'),
    "a refusal": (403, b'{"error_code": "PERMISSION_DENIED", "message": "\x1b[2Jno"}'),
    "a file": (302, b"file:///etc/passwd"),
    "itself": (302, b""),
}


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers every request for MLflow's records by the name that its address holds."""

    def do_GET(self) -> None:
        """Answer."""
        name = self.path.split("/")[1].replace("%20", " ")
        status, content = ANSWERS[name]
        self.send_response(status)
        if status == 302:
            self.send_header("location", content.decode() or self.path)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that answers as strangely as it is asked to."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_server_that_answers_something_else_is_told(answer: str, server: str) -> None:
    with pytest.raises(Exception) as raised:
        Tracker.at(f"{server}/{answer.replace(' ', '%20')}", "avt")
    words = in_words(raised.value)
    assert words is not None and len(words) < 500 and "\x1b" not in words
    assert "no answer that can be used" in words


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store with an ablation in it."""
    out = tmp_path_factory.mktemp("strange")
    modes = ("traditional", "residual")
    params = {"margin": "0.02"}
    make_ablation(out, Made(modes=modes, n_splits=2, epochs=2, n_trials=2, params=params))
    return out / "mlflow.db"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE params SET value = 'many' WHERE key = 'n_splits'",
        "UPDATE params SET value = '0' WHERE key = 'n_splits'",
        "UPDATE params SET value = 'x' WHERE key = 'margin'",
        "UPDATE params SET value = '-1' WHERE key = 'variance_factor'",
        "UPDATE params SET value = 'nan' WHERE key = 'variance_factor'",
        "UPDATE params SET value = 'beauty' WHERE key = 'targets'",
        "UPDATE params SET value = '[1' WHERE key = 'guide_setting'",
        "UPDATE tags SET value = 'x' WHERE key = 'split' AND value = '0'",
        "UPDATE tags SET value = 'x' WHERE key = 'trial'",
        "UPDATE tags SET value = '{' WHERE key = 'undefined'",
        "DELETE FROM params",
    ],
)
def test_a_store_that_holds_something_else_is_told(
    change: str, store: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mlflow.db"
    shutil.copy(store, file)
    with closing(sqlite3.connect(file)) as database:
        assert database.execute(change).rowcount
        database.commit()
    with pytest.raises(UserError, match=r"What sqlite:.* holds of the ablation cannot be read"):
        load_ablation(sqlite_address(file))


def test_a_state_that_cannot_be_read_is_told(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    shutil.copy(store, file)
    with closing(sqlite3.connect(file)) as database:
        changed = database.execute("UPDATE params SET value = 'many' WHERE key = 'n_splits'")
        assert changed.rowcount
        database.commit()
    tracker = Tracker.at(sqlite_address(file))
    assert tracker.runs(Kind.ABLATION)
    with pytest.raises(UserError, match="cannot be read"):
        list(read_states(tracker))
