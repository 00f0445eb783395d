"""What the pages of docs/ and the README show: diffs apply, flags and variables exist."""

import dataclasses
import importlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from qa_core import command_line as cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(language: str, page: Path) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


DIFFS = blocks("diff", ROOT / "docs" / "development.md")


@pytest.mark.parametrize(
    "diff", DIFFS, ids=[re.findall(r"^diff --git a/(\S+)", d, re.M)[0] for d in DIFFS]
)
def test_the_diffs_of_the_developers_page_apply(diff: str) -> None:
    command = ["git", "apply", "--check", "-C1", "--recount"]
    answers = [
        subprocess.run([*command, *way, "-"], input=diff, text=True, check=False, cwd=ROOT)
        for way in ([], ["--reverse"])  # whoever follows the page has applied one
    ]
    assert 0 in {answer.returncode for answer in answers}


def commands(page: Path) -> list[str]:
    text = "\n".join(blocks("sh", page)).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


SHOWN = [(page, line) for page in PAGES for line in commands(page)]
MADE = sorted({line for _, line in SHOWN if line.startswith("make ")})
RUN = sorted({line for _, line in SHOWN if line.startswith(".venv/bin/python ")})


def parse_as(module_name: str, argv: list[str]) -> None:
    """Give words to the real parser of a module; unknown ones end it with SystemExit."""
    module = importlib.import_module(module_name)
    (args_type,) = (
        value
        for name, value in vars(module).items()
        if dataclasses.is_dataclass(value)
        and value.__module__ == module_name
        and name.endswith(("Args", "BuildConfig"))
    )
    cli.parse(args_type, "", argv)  # type: ignore[arg-type]


def known_variables() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    texts = re.search(r"^TEXTS := (.*?[^\\])\n", makefile, re.DOTALL | re.MULTILINE)
    assert texts is not None
    return set(texts[1].replace("\\", " ").split()) | set(
        re.findall(r"\$\(value (\w+)\)", makefile)
    )


@pytest.mark.parametrize("line", MADE)
def test_make_knows_the_target_its_variables_and_the_flags_they_become(line: str) -> None:
    words = shlex.split(line, comments=True)
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    assert set(variables) <= known_variables()
    shown = subprocess.run(
        ["make", "-n", "--no-print-directory", "-o", ".venv/installed", *words[1:]],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.replace("\\\n", " ")
    defaults = {"OUT": "runs/ablation", "CACHE": ".cache", "PORT": "5000", "PROFILE": "default"}
    values = defaults | variables
    for module, flags in re.findall(r"python -m ((?:experiments|reports)\.\w+)(.*)", shown):
        words = [re.sub(r"\$(\w+)", lambda n: values[n[1]], word) for word in shlex.split(flags)]
        if words:
            parse_as(module, words)


@pytest.mark.parametrize("line", RUN)
def test_commands_parse(line: str) -> None:
    _, script, *argv = shlex.split(line, comments=True)
    parse_as(script.removesuffix(".py").replace("/", "."), argv)


def test_every_page_and_picture_that_is_linked_exists() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} names {target}"
