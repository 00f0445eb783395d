"""What every command does at its end, whoever reads what it prints."""

import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from qa_core.command_line import run
from qa_core.errors import UserError
from reports.mlflow_pages.overview import read_results
from studies.board import Board

PROGRAM = "from qa_core import command_line as cli; cli.run(lambda: print({text!r} * {times}))"


def test_a_reader_that_has_read_enough_is_no_mistake() -> None:
    program = PROGRAM.format(text="line\n", times=100_000)
    command = f'{sys.executable} -c "$0" | head -n 1; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", command, program], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["line", "141"] and done.stderr == ""


STRUCK = """
import ctypes, os, signal, sys
from qa_core import command_line as cli
run = ctypes.pythonapi.PyRun_String
run.restype = ctypes.py_object
run.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.py_object, ctypes.py_object]
def main():
    names = {"__builtins__": __builtins__, "signal": signal, "os": os}
    code = b"os.kill(os.getpid(), signal.SIGTERM)\\n[None for _ in range(9)]"
    run(code, 257, names, names)
cli.end_on_signals()
cli.run(main)
"""


def test_a_signal_ends_orderly_also_in_code_that_a_library_runs(tmp_path: Path) -> None:
    (tmp_path / "struck.py").write_text(STRUCK)
    done = subprocess.run(
        [sys.executable, "-m", "struck"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


DROPPED = """
import contextlib, os, signal
from qa_core import command_line as cli
from studies.board import Board
def main():
    with contextlib.suppress(KeyboardInterrupt):  # as a weak reference's callback does
        os.kill(os.getpid(), signal.SIGTERM)
        [None for _ in range(9)]
    Board().say("went on")
cli.end_on_signals()
cli.run(main)
"""


def test_a_signal_that_code_drops_ends_at_the_next_line() -> None:
    command = [sys.executable, "-c", DROPPED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_a_terminal_of_few_letters_shows_others_as_question_marks() -> None:
    program = PROGRAM.format(text="mode − é 猫", times=1)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"mode ? ? ?\n")


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("a\x1b]0;title\x07.png", r"a\x1b]0;title\x07.png"),
        ("\x9b2Jgone", r"\x9b2Jgone"),
        ("over\rwritten", r"over\rwritten"),
        ("turned \u202egnp.exe", r"turned \u202egnp.exe"),
        ("two\nlines and 猫 👩\u200d🎨 é", "two\nlines and 猫 👩\u200d🎨 é"),
    ],
)
def test_names_command_no_terminal(
    name: str, seen: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken() -> None:
        raise UserError(f"{name} is wrong.")

    monkeypatch.setattr("sys.argv", ["x"])
    with pytest.raises(SystemExit):
        run(mistaken)
    assert capsys.readouterr().err == f"error: {seen} is wrong.\n"
    Board(Console(force_terminal=False)).say(name)
    assert seen in capsys.readouterr().out


@pytest.mark.parametrize("content", [b'{"complete": tr', b"[]", b"\xff\xfe", b""])
def test_damaged_results_are_told_and_how_to_have_them_again(content: bytes, tmp_path: Path):
    assert read_results(tmp_path) == {}
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(UserError, match="is damaged: make report OUT="):
        read_results(tmp_path)
