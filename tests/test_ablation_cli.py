"""The command line of the whole ablation: its flags, and what it refuses."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.ablation import AblationArgs, base_config, run_ablation
from experiments.cli.data_flags import parse_range
from qa_core.errors import UserError
from qa_core.system.locking import sole_owner
from qa_core.targets import Target
from studies.designed.catalogue import DESIGNS
from studies.profiles import PROFILES

FLAGS = {
    "profile",
    "data",
    "data_root",
    "data_test",
    "data_test_root",
    "table",
    "images",
    "columns",
    "range_q",
    "range_c",
    "protocol",
    "backbone",
    "pretrained",
    "engine",
    "workers",
    "seeds",
    "margin",
    "arms",
    "tokenizer",
    "image_view",
    "augment",
    "out",
    "cache",
    "cache_gb",
    "cache_precision",
    "amp_on_cpu",
    "tracking_uri",
    "optuna_storage",
    "debug",
}


def test_the_flags_are_these() -> None:
    assert {field.name for field in dataclasses.fields(AblationArgs)} == FLAGS


def test_help_names_every_flag_and_loads_nothing_heavy() -> None:
    code = (
        "import runpy, sys; sys.argv = ['ablation', '--help']\n"
        "try: runpy.run_module('experiments.ablation', run_name='__main__')\n"
        "except SystemExit: print(*sorted({'torch', 'mlflow', 'optuna'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(f"--{flag}" in shown for flag in FLAGS)
    assert shown.splitlines()[-1] == ""


def test_profiles_are_as_large_as_promised() -> None:
    smoke, default, full = (PROFILES[name] for name in ("smoke", "default", "full"))
    assert smoke.n_splits >= 2 and smoke.note is not None
    assert (default.n_splits, default.n_trials) == (10, 8) and default.epochs >= 8
    assert full.n_splits >= 10 and full.epochs >= 20 and full.max_prompts is None
    assert set(full.studies) == set(DESIGNS) and not default.studies


def test_flags_become_the_configuration(small_table: Path) -> None:
    args = AblationArgs(table=small_table, range_q="1:5", range_c="0:10", profile="smoke")
    config = base_config(args)
    assert config.data.nominal_range(Target.QUALITY) == (1, 5)
    assert config.data.nominal_range(Target.CONSISTENCY) == (0, 10)
    assert config.train.threads == 1
    assert config.train.epochs == PROFILES["smoke"].epochs


def test_data_is_a_folder_with_a_table(small_table: Path) -> None:
    config = base_config(AblationArgs(data=small_table.parent))
    assert config.data.data_csv_path == str(small_table)
    assert config.data.image_base_dir == str(small_table.parent)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"range_q": "5"}, "--range_q '5' is not of the form LOW:HIGH"),
        ({"range_c": "1:2:3"}, "LOW:HIGH"),
        ({"table": Path("nowhere.csv")}, "no table nowhere.csv"),
        ({"images": Path("nowhere")}, "no image folder nowhere"),
        ({"data": Path("x"), "table": Path("y")}, "leave out --table"),
        ({"data": Path("agiqa3k")}, "--data agiqa3k needs --data_root"),
        ({"data": Path("agiqa3k"), "data_root": Path("nowhere")}, "no folder nowhere"),
        ({"data_root": Path()}, "--data_root needs --data beside it"),
        ({"workers": -1}, "negative"),
        ({"margin": 0.0}, "--margin 0 is not above 0"),
        ({"tracking_uri": "http://h:5000"}, "go together"),
        ({"tracking_uri": "sqlite:///x", "optuna_storage": "postgresql://h/d"}, "MLflow server's"),
        ({"tracking_uri": "http://h:5000", "optuna_storage": "sqlite:///x"}, "postgresql://USER"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    changes: dict[str, object], words: str, tmp_path: Path
) -> None:
    args = dataclasses.replace(AblationArgs(out=tmp_path / "out"), **changes)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=words.replace("(", r"\(")):
        run_ablation(args)
    assert not (tmp_path / "out" / "mlflow.db").exists()


def test_a_mistake_ends_with_status_2_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments.ablation", "--range_q", "low", "--out", "out"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=_environment()
    )
    assert ended.returncode == 2
    assert ended.stderr == "error: --range_q 'low' is not of the form LOW:HIGH, as in 1:5.\n"


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "/usr/bin:/bin"}


def test_a_second_ablation_in_the_folder_is_refused_by_name(tmp_path: Path) -> None:
    with (
        sole_owner(tmp_path / ".ablation.lock", "An ablation"),
        pytest.raises(UserError, match=rf"An ablation \(process \d+\) is at work in {tmp_path}"),
    ):
        run_ablation(AblationArgs(out=tmp_path))


def test_a_lock_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with sole_owner(tmp_path / "lock", "An ablation"):
            pass


def test_ranges() -> None:
    assert parse_range("range_q", None) is None
    assert parse_range("range_q", "0.5:4.5") == (0.5, 4.5)
