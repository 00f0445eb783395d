"""Every mistake of docs/mistakes.md, made with the real command; page and test are one list."""

import contextlib
import importlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mistakes import MISTAKES, World

from qa_core import command_line as cli
from qa_core.config import run_config_from_flat
from qa_core.features.workspace import Workspace
from qa_core.model.checkpoint import save_checkpoint
from qa_core.model.quality_model import QualityModel
from qa_core.modes import resolve
from qa_core.training import run_checkpoints

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "mistakes.md").read_text(encoding="utf-8")
BOX = str.maketrans("", "", "│─╭╮╰╯")


def rows_of_the_page() -> Iterator[tuple[str, str, int]]:
    """(mistake, what one sees, exit code) of every row."""
    code = 0
    for line in PAGE.splitlines():
        if line.startswith("## "):
            code = int(line.rsplit(" ", 1)[1])
        found = re.match(r"\| ([^|`]+) \| `(.*)` \| [^|]+ \|$", line)
        if found:
            yield found[1], found[2], code


ROWS = {mistake: (seen, code) for mistake, seen, code in rows_of_the_page()}


def test_page_and_test_are_one_list() -> None:
    assert ROWS.keys() == MISTAKES.keys()
    assert len(ROWS) == len([*rows_of_the_page()])
    tables = [line for line in PAGE.splitlines() if line.startswith("|")]
    heads = 2 * PAGE.count("\n|---|")
    assert len(tables) == heads + len(ROWS)  # no row is passed over


@pytest.fixture(scope="module")
def checkpoint(
    narrow_models: None, small_table: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A whole checkpoint of narrow-3, as it is before training."""
    path, cache = tmp_path_factory.mktemp("checkpoint") / "best.pt", tmp_path_factory.mktemp("c")
    flags = {"backbone": "narrow-3", "pretrained": "none", "data_csv_path": str(small_table)}
    workspace = Workspace.open(run_config_from_flat(flags), cache)
    config = resolve(run_config_from_flat(flags), workspace.spec)
    model = QualityModel(workspace.backbone, config)
    save_checkpoint(path, run_checkpoints.describe(config, workspace, model, whole=True))
    return path


@pytest.fixture(scope="module")
def out(created_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an MLflow store."""
    folder = tmp_path_factory.mktemp("out")
    shutil.copy(created_store / "mlflow.db", folder)
    return folder


@pytest.fixture
def world(
    tmp_path: Path, small_table: Path, checkpoint: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as on_exit:
        yield World(tmp_path, small_table, checkpoint, out, monkeypatch, on_exit)
    assert not (tmp_path / "touched").exists()  # what a pickle would have done


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_says_what_the_page_says(
    mistake: str, world: World, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    seen, code = ROWS[mistake]
    words = MISTAKES[mistake](world)
    capfd.readouterr()
    ended = run_make(words) if words[0] == "make" else run_here(words, world)
    said = capfd.readouterr()
    told = " ".join((said.out + said.err + caplog.text).translate(BOX).split())
    assert ended == code, told
    assert "Traceback" not in told
    pattern = ".*".join(re.escape(part.strip()) for part in seen.split("…"))
    assert re.search(pattern, told), told


def run_here(words: list[str], world: World) -> int:
    """Run a command in this process; its exit code."""
    command = importlib.import_module(words[0])
    world.patch.setattr("sys.argv", words)
    run: Callable[[], None] = command.main
    try:
        run() if words[0] == "reports.build" else cli.run(run)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def run_make(words: list[str]) -> int:
    """Run a target; its exit code."""
    return subprocess.run(words, cwd=ROOT, check=False).returncode


def test_debug_shows_the_traceback_of_a_mistake(world: World) -> None:
    with pytest.raises(Exception, match="there is no such table"):
        run_here([*world.train("--debug", table="nowhere.csv")], world)
