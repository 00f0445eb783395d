"""`clip-qa`: every command by one name, with the flags of its module."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from experiments import clip_qa

ROOT = Path(__file__).resolve().parents[1]


def told(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run `clip-qa` with these words; its exit status."""
    monkeypatch.setattr(sys, "argv", ["clip-qa", *words])
    try:
        clip_qa.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_help_names_every_command_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(monkeypatch) == told(monkeypatch, "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    for name in clip_qa.COMMANDS:
        assert any(re.match(rf"  {name}  +[A-Z].+\.", line) for line in lines), name


def test_commands_are_the_targets_of_make(monkeypatch: pytest.MonkeyPatch) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name, module in clip_qa.COMMANDS.items():
        importlib.import_module(module).main  # noqa: B018
        target = re.search(rf"^{name}: .*(?:\n\t.*)+", makefile, re.MULTILINE)
        assert target is None or f"-m {module}" in target[0]
        assert target is not None or name in ("baseline", "predict")


def test_flags_go_to_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert told(monkeypatch, "serve", "--out", str(tmp_path)) == 2
    assert f"There is no mlflow.db in {tmp_path}" in capsys.readouterr().err
    assert told(monkeypatch, "predict", "--help") == 0
    assert "usage: clip-qa predict" in capsys.readouterr().out
    assert told(monkeypatch, "bogus") == 2
    assert "There is no command 'bogus'" in capsys.readouterr().err


def test_a_wheel_has_the_command_and_what_it_reads() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"clip-qa": "experiments.clip_qa:main"}
    packaged = [
        path
        for package, patterns in project["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    ]
    rooms = ("qa_core", "studies", "experiments", "reports")
    tracked = subprocess.run(
        ["git", "ls-files", *rooms], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    others = [ROOT / name for name in tracked if not name.endswith(".py")]
    assert others and set(others) <= set(packaged)
    for folder in {(ROOT / name).parent for name in tracked if name.endswith(".py")}:
        assert (folder / "__init__.py").is_file(), folder
