"""What strangers can write: make variables, links, markup; none of it is run, followed or shown."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.cli.server_process import HOST
from qa_core.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
HOSTILE = (
    "a b",
    "a'b",
    'a"b',
    "$(touch pwned)",
    "`touch pwned`",
    "$(shell touch pwned)",
    "${HOME}$HOME$$",
    "; touch pwned;",
    "x\\",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "*",
    "#% !",
    "a\nb",
)
VARIABLES = {
    "ablation": "DATA DATA_ROOT DATA_TEST DATA_TEST_ROOT TABLE IMAGES COLUMNS RANGE_Q RANGE_C CACHE"
    " PROFILE PROTOCOL BACKBONE PRETRAINED WORKERS SEEDS OUT CACHE_GB",
    "study": "STUDY SPLITS EPOCHS OUT",
    "plan": "CARDS N_IMAGES",
    "report": "TRACKING_URI RUNS PREDICTIONS CLAIMS",
    "check-data": "TABLE BACKBONE",
    "bench": "ONLY CACHE",
    "serve": "OUT PORT WORKERS",
    "export": "CHECKPOINT",
    "wheelhouse": "FOR WITHOUT WHEELS",
}
CODE = [path for folder in ("qa_core", "studies", "experiments", "reports") 
        for path in (ROOT / folder).rglob("*.py")]  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile over a Python that writes down its arguments."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        "with open('said.json', 'a') as file: file.write(json.dumps(sys.argv[1:]) + chr(10))\n"
    )
    python.chmod(0o755)
    for name in ("pyproject.toml", "constraints.txt", ".venv/installed"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_misspelt_variable_is_told(checkout: Path) -> None:
    command = ["make", "--silent", "ablation", "PROFIL=smoke", "OUT=runs/x"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "There is no variable PROFIL; make help lists them" in done.stderr
    assert not (checkout / "said.json").exists()


@pytest.mark.parametrize("target", VARIABLES)
def test_make_hands_variables_on_as_they_are(target: str, checkout: Path) -> None:
    names = VARIABLES[target].split()
    for start in range(0, len(HOSTILE), len(names)):
        values = {n: HOSTILE[(start + k) % len(HOSTILE)] for k, n in enumerate(names)}
        given = [f"{name}={value}" for name, value in values.items()]
        subprocess.run(["make", "-s", target, *given], cwd=checkout, check=False)
        words = json.loads((checkout / "said.json").read_text().splitlines()[-1])
        assert [v for v in values.values() if v not in words] == []
    assert not (checkout / "pwned").exists()


def test_the_environment_reaches_no_shell_either(checkout: Path) -> None:
    hostile = {"OUT": "$(touch pwned)", "TABLE": "`touch pwned`", "PATH": "/usr/bin:/bin"}
    subprocess.run(["make", "-s", "ablation"], cwd=checkout, env=hostile, check=False)
    words = json.loads((checkout / "said.json").read_text())
    assert {"$(touch pwned)", "`touch pwned`"} <= set(words)
    assert not (checkout / "pwned").exists()


def test_recipes_name_variables_of_users_in_quotes_alone() -> None:
    recipes = re.findall(r"^\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in recipes:
        for name in re.findall(r"\$\$([A-Z_]+)", line):
            assert re.search(rf'"[^"]*\$\${name}\b[^"]*"', line), line
        ours = {"BIN", "STAMP", "call", "if"} | {
            word for word in re.findall(r"\$\((\w+_FLAGS)\)", line)
        }
        assert set(re.findall(r"\$\((\w+)", line)) <= ours, line


@pytest.mark.parametrize(
    "word", [r"eval\(", r"exec\(", r"pickle\.", "shell=True", "weights_only=False", r"os\.system"]
)
def test_nothing_is_evaluated_or_unpickled(word: str) -> None:
    assert len(CODE) > 80
    found = [path.name for path in CODE if re.search(rf"(?<![\w.]){word}", path.read_text("utf-8"))]
    assert found == []


def test_every_load_of_arrays_and_weights_is_a_plain_one() -> None:
    for path in CODE:
        text = path.read_text("utf-8")
        for call in re.findall(r"torch\.load\([^)]*\)", text):
            assert "weights_only=True" in call, path
        assert "allow_pickle=True" not in text, path


def test_servers_listen_on_loopback() -> None:
    texts = [(ROOT / "Makefile").read_text(), *(p.read_text("utf-8") for p in CODE)]
    assert not any("0.0.0.0" in text for text in texts)
    assert HOST == "127.0.0.1"


@pytest.mark.parametrize(
    "architecture",
    [
        {"text_cfg": {"hf_model_name": "someone/their-code"}, "vision_cfg": {}, "embed_dim": 8},
        {
            "text_cfg": {},
            "vision_cfg": {"timm_model_name": "hf-hub:someone/theirs"},
            "embed_dim": 8,
        },
    ],
)
def test_a_checkpoint_has_nothing_fetched(architecture: dict[str, Any]) -> None:
    from qa_core.backbones.blueprint import Blueprint

    with pytest.raises(UserError, match="not supported"):
        Blueprint.restore({"name": "x", "architecture": architecture, "tokenizer": None})
