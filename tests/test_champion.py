"""The champion: chosen on validation, registered, and answering a real request over loopback."""

import base64
import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.served import family
from qa_core.errors import UserError
from qa_core.records.schema import Kind
from qa_core.records.tracking import RunRecord, Tracker
from qa_core.scorer import Scorer
from qa_core.serving.champion import find_checkpoint, register_model
from qa_core.serving.request import MOST_IMAGES
from qa_core.serving.server import MOST_BODY
from studies.champion import choose_champion, register_champion
from tests.test_scorer import PROMPTS, checkpoint_of, pictures


@pytest.fixture(scope="module")
def trained(
    narrow_folder: Path,
    small_table: Path,
    created_store: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Tracker, str, Path]:
    """A store with a run and a checkpoint of a backbone that any process can load."""
    from qa_core.config import run_config_from_flat
    from qa_core.features.workspace import Workspace

    folder = tmp_path_factory.mktemp("champion")
    flags = {"data_csv_path": str(small_table), "mos_range_q": (1.0, 5.0)}
    backbone = {"backbone": str(narrow_folder), "pretrained": "none"}
    workspace = Workspace.open(run_config_from_flat(flags | backbone), folder)
    checkpoint = checkpoint_of(workspace, folder / "run", freeze_clip=True, **backbone)
    shutil.copy(created_store / "mlflow.db", folder)
    tracker = Tracker.open(folder)
    run_id = tracker.start(RunRecord("an ablation", Kind.ABLATION))
    return tracker.of_ablation(run_id), run_id, checkpoint


def test_the_champion_is_chosen_on_validation(trained: tuple[Tracker, str, Path]):
    tracker, _, checkpoint = trained
    assert choose_champion([]) is None
    for mode, split, selection, test in (
        ("residual", 0, 0.5, 0.9),
        ("residual", 1, 0.6, 0.9),
        ("linear_probe", 0, 0.7, 0.1),
        ("linear_probe", 1, 0.65, 0.1),
    ):
        record = RunRecord(
            f"{mode} {split}",
            Kind.CONFIRMATION,
            tags={"mode": mode, "setting": "guide", "checkpoint": checkpoint.name},
            metrics={"best_selection": selection, "test_srocc_quality": test},
            artifacts=[(checkpoint, "checkpoint")],
        )
        tracker.write(record)
    champion = choose_champion(tracker.runs(Kind.CONFIRMATION))
    assert champion is not None and champion.info.run_name == "linear_probe 0"
    address = register_champion(tracker)
    assert address == "models:/clip-qa@champion" == register_champion(tracker)
    versions = tracker.client.search_model_versions("name = 'clip-qa'")
    assert len(versions) == 1  # a second call registers nothing
    folder = Path(tracker.uri.removeprefix("sqlite:///")).parent
    assert find_checkpoint(folder).name == "checkpoint.pt"
    found = Scorer.load(find_checkpoint(folder), "cpu").score(pictures(), PROMPTS)
    expected = Scorer.load(checkpoint, "cpu").score(pictures(), PROMPTS)
    assert found.equals(expected)


def test_an_ablation_that_was_moved_has_its_champion_in_itself(
    trained: tuple[Tracker, str, Path], tmp_path: Path
):
    tracker, run_id, checkpoint = trained
    register_model(tracker.uri, run_id, checkpoint)
    store = Path(tracker.uri.removeprefix("sqlite:///"))
    made = find_checkpoint(store.parent)
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(store, moved)
    artifacts = next(parent for parent in made.parents if parent.name == "models").parent
    shutil.copytree(artifacts / "models", moved / "artifacts" / "models")
    found = find_checkpoint(moved)
    assert found.is_relative_to(moved) and found.read_bytes() == made.read_bytes()
    found.unlink()
    hidden = made.rename(made.with_suffix(".hidden"))
    try:
        with pytest.raises(UserError, match="names a champion, but its files are gone"):
            find_checkpoint(moved)
    finally:
        hidden.rename(made)


def test_a_folder_without_a_champion_is_a_sentence(tmp_path: Path):
    with pytest.raises(UserError, match="with 0 best checkpoints"):
        find_checkpoint(tmp_path)
    (tmp_path / "baseline_best.pt").touch()
    assert find_checkpoint(tmp_path) == tmp_path / "baseline_best.pt"
    (tmp_path / "baseline_residual_best.pt").touch()
    with pytest.raises(UserError, match=r"2 best checkpoints \(baseline_best\.pt, baseline_res"):
        find_checkpoint(tmp_path)


@pytest.fixture(scope="module")
def server(trained: tuple[Tracker, str, Path]) -> Iterator[tuple[str, int, Path]]:
    """Address, process and log of `make serve`, from a shell that has no program of ours.

    It ends while it is being asked, and answers first.
    """
    tracker, run_id, checkpoint = trained
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        register_model(tracker.uri, run_id, checkpoint)
    assert said.getvalue() == ""
    out = Path(tracker.uri.removeprefix("sqlite:///")).parent
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "experiments.serve", "--out", out, "--port", str(port)]
    environment = os.environ | {"PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = iter(process.stdout.readline, "")
    assert any("Ctrl-C" in line for line in said), "the server did not start"
    yield f"http://127.0.0.1:{port}", process.pid, out / "served-model.log"
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    asked.request("POST", "/invocations", _long_request(), {"Content-Type": "application/json"})
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert asked.getresponse().status == 200
    assert process.stdout.read().splitlines()[-1] == "closed"
    assert process.wait(30) == 0


def test_a_served_model_answers_with_the_same_digits(
    server: tuple[str, int, Path], trained: tuple[Tracker, str, Path], tmp_path: Path
):
    address, *_ = server
    files = []
    for number, picture in enumerate(pictures()):
        picture.save(tmp_path / f"{number}.png")
        files.append((tmp_path / f"{number}.png").read_bytes())
    rows = [[base64.b64encode(f).decode(), p] for f, p in zip(files, PROMPTS, strict=True)]
    body = json.dumps({"dataframe_split": {"columns": ["image", "prompt"], "data": rows}})
    status, text = _ask(address, body.encode(), "application/json")
    assert status == 200
    answered = json.loads(text)["predictions"]
    expected = Scorer.load(trained[2], "cpu").score(files, PROMPTS)
    assert answered == expected.to_dict("records")
    for content_type, request in _requests_for_a_file(tmp_path / "0.png"):
        status, text = _ask(address, request, content_type)
        assert status == 400 and "Traceback" not in text, text


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"\xff"),
        ("application/json", b'{"dataframe_split": {"columns": ["image"], "data": [[1, 2]]}}'),
        ("application/json", b'{"inputs": 3}'),
        ("text/csv", b'a,b\n"'),
        ("text/csv", b"\xff"),
        ("application/vnd.apache.parquet", b"none"),
        ("", b"{}"),
    ],
)
def test_a_body_that_cannot_be_read_is_answered_by_a_sentence(
    server: tuple[str, int, Path], content_type: str, body: bytes
):
    status, text = _ask(server[0], body, content_type)
    assert status in (400, 415) and text, text
    for word in ("stack_trace", "Traceback", "site-packages", ".py"):
        assert word not in text, text


def test_a_body_of_any_size_is_answered(server: tuple[str, int, Path]):
    status, text = _ask(server[0], bytes(MOST_BODY + 1), "application/json")
    assert status == 413 and "more than 128 MiB" in text


def test_a_process_that_dies_is_replaced(server: tuple[str, int, Path]):
    address, pid, log = server
    struck = family(pid)[-1]
    assert b"forkserver" in Path(f"/proc/{struck}/cmdline").read_bytes()
    os.kill(struck, signal.SIGKILL)
    row = {"image": base64.b64encode(b"none").decode(), "prompt": "a cat"}
    body = json.dumps({"dataframe_records": [row]}).encode()
    statuses: list[int] = []
    deadline = time.monotonic() + 60
    while "has died" not in log.read_text() or statuses[-1:] != [400]:
        statuses.append(_ask(address, body, "application/json")[0])
        assert time.monotonic() < deadline, statuses
    assert set(statuses) <= {400, 503} and struck not in family(pid)


def _long_request() -> bytes:
    """A request that takes a process some seconds."""
    file = io.BytesIO()
    pictures()[0].resize((256, 256)).save(file, "PNG")
    image = base64.b64encode(file.getvalue()).decode()
    rows = [[image, f"a cat, number {number}"] for number in range(MOST_IMAGES)]
    return json.dumps({"dataframe_split": {"columns": ["image", "prompt"], "data": rows}}).encode()


def _ask(server: str, body: bytes, content_type: str) -> tuple[int, str]:
    request = urllib.request.Request(f"{server}/invocations", body, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _requests_for_a_file(file: Path) -> Iterator[tuple[str, bytes]]:
    """Requests that name a file of the server in every format that MLflow's server takes."""
    for name in (str(file), file.as_uri(), os.path.relpath(file)):
        frame = pd.DataFrame({"image": [name], "prompt": ["a cat"]})
        yield "text/csv", frame.to_csv(index=False).encode()
        for orient in ("records", "split"):
            key = f"dataframe_{orient}"
            yield "application/json", json.dumps({key: frame.to_dict(orient=orient)}).encode()
        yield "application/json", json.dumps({"instances": frame.to_dict("records")}).encode()
        yield "application/json", json.dumps({"inputs": frame.to_dict("list")}).encode()
        buffer = io.BytesIO()
        frame.to_parquet(buffer)
        yield "application/vnd.apache.parquet", buffer.getvalue()
