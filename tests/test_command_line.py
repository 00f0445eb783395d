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
