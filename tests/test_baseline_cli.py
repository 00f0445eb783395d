"""The one-run command line: its surface, the guide's own commands, and mistakes."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import baseline
from qa_core import command_line as cli
from qa_core.errors import UserError

ROOT = Path(__file__).resolve().parents[1]

GUIDE_FLAGS = """
    epochs batch_size lr lr_head w_q w_c weight_decay warmup_ratio max_grad_norm dropout
    grad_accum_steps no_amp seed num_workers scheduler step_lr_step_size step_lr_gamma resume_from
    early_stopping_patience early_stopping_min_delta label_scale_q label_scale_c use_refinement
    refinement_layers refinement_heads refinement_dim no_strict_residual use_explanations w_exp
    explanation_column use_two_branch data_csv_path image_base_dir output_dir recipe
    partial_freeze freeze_layers freeze_clip no_residual_learning residual_scale_q residual_scale_c
""".split()

OUR_FLAGS = """
    help backbone pretrained tokenizer image_view scale_schedule curriculum_share base_init
    fusion_inputs w_plcc w_rank
    selection_metric device threads cache cache_gb cache_precision mos_range_q
    mos_range_c protocol split split_seed test cache_dir debug dataset data_root
    test_dataset test_root probe_share layer_decay ema_decay wise_ft lora_rank antonym_prompts
    matched_direct columns freeze_image_layers freeze_text_layers freeze_from train_only
    adapter_reduction l2_sp anchor soup augment amp_on_cpu
""".split()

NARROW = "--backbone narrow-24 --pretrained none --threads 1"

GUIDE_COMMANDS = {
    "": "baseline_residual_best.pt",
    "--partial_freeze --freeze_layers 18": "baseline_residual_partial_freeze_18L_best.pt",
    "--residual_scale_q 0.3 --residual_scale_c 0.3": "baseline_residual_best.pt",
    "--no_residual_learning": "baseline_best.pt",
    "--freeze_clip --lr 1e-3": "baseline_residual_linear_probe_best.pt",
    "--partial_freeze --freeze_layers 18 --residual_scale_q 0.2 --residual_scale_c 0.2"
    " --epochs 20 --batch_size 32 --lr 3e-5": "baseline_residual_partial_freeze_18L_best.pt",
    "--partial_freeze --freeze_layers 20 --residual_scale_q 0.1 --residual_scale_c 0.1"
    " --epochs 30 --batch_size 16 --lr 1e-5": "baseline_residual_partial_freeze_20L_best.pt",
    "--freeze_clip --epochs 10 --batch_size 64 --lr 1e-3": "baseline_residual_linear_probe_best.pt",
}


def run(flags: str) -> None:
    argv = shlex.split(flags)
    baseline.train(cli.parse(baseline.BaselineArgs, "", argv), argv)


@pytest.fixture(scope="module")
def output_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("baseline")


@pytest.fixture
def place(narrow_models: None, small_table: Path, output_dir: Path) -> str:
    return f"--data_csv_path {small_table} --output_dir {output_dir} --cache_dir {output_dir}"


@pytest.fixture(scope="module")
def help_text() -> str:
    done = subprocess.run(
        [sys.executable, "experiments/baseline.py", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "90"},
    )  # fmt: skip
    return done.stdout


def test_the_flags_are_exactly_these(help_text: str) -> None:
    option_lines = re.findall(r"^│ (?:-h, )?(--.*?)(?:  |$)", help_text, re.MULTILINE)
    shown = {flag for line in option_lines for flag in re.findall(r"--(\w+)", line)}
    positive = {word.removeprefix("no_") for word in shown}
    assert positive == {word.removeprefix("no_") for word in GUIDE_FLAGS + OUR_FLAGS}
    assert set(GUIDE_FLAGS) <= shown


def test_help_does_not_load_torch() -> None:
    code = "import sys, experiments.baseline; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("flags", GUIDE_COMMANDS, ids=lambda flags: flags or "default")
def test_the_guides_commands_run_as_written(
    flags: str, place: str, output_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = output_dir / GUIDE_COMMANDS[flags]
    checkpoint.unlink(missing_ok=True)
    run(f"{flags} {NARROW} {place}")
    assert checkpoint.is_file()
    said = capsys.readouterr()
    assert "RANDOM WEIGHTS" in said.err
    for topic in (
        "epochs",
        "loss",
        "explanations",
        "freezing",
        "prediction",
        "val SROCC",
        "advice",
    ):
        assert topic in said.out
    assert str(checkpoint) in said.out


def test_a_recipe_yields_to_flags_and_test_prints_the_measures(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(f"--recipe quick --epochs 2 --test {NARROW} {place}")
    said = capsys.readouterr().out
    assert "2 epochs, batch 64" in said and "linear probe" in said
    assert "test_srocc_quality" in said


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--freeze_clip --partial_freeze", "one of the two"),
        ("--freeze_layers 8", "--partial_freeze"),
        ("--partial_freeze --freeze_layers 25", "24 blocks.* 18"),
        ("--split 99", "splits 0 to 19"),
        ("--resume_from nowhere.pt", "no checkpoint"),
        ("--use_explanations --explanation_column why", "why"),
    ],
)
def test_mistakes_are_told_in_a_sentence(flags: str, says: str, place: str) -> None:
    with pytest.raises(UserError, match=says):
        run(f"{flags} --epochs 1 {NARROW} {place}")


def test_a_mistake_ends_with_exit_code_2_and_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "experiments/baseline.py", "--freeze_layers", "8"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
