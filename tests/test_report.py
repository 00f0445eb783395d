"""The report from a real MLflow store with made-up scores."""

import hashlib
import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from report_fixture import Made, make_ablation

from qa_core.errors import UserError
from qa_core.records.schema import Reference
from reports.build import build_report
from reports.evidence.load import load_ablation
from reports.figures.axes import spread
from reports.figures.style import format_score
from reports.paper.worst import worst_cases
from reports.text.page_text import page_text


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete ablation with its report."""
    out = tmp_path_factory.mktemp("report")
    make_ablation(out, Made(n_splits=4))
    build_report(out)
    return out


def results_of(out: Path) -> dict:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in results.json")

    text = (out / "results.json").read_text()
    return json.loads(text, parse_constant=refuse)


def test_results_have_the_agreed_shape(built: Path) -> None:
    results = results_of(built)
    entry = results["guide_modes"]["residual"]["srocc_quality"]
    assert set(entry) == {"mean", "low", "high", "n", "interval"}
    assert (entry["n"], entry["interval"]) == (4, "nadeau_bengio")
    undefined = results["guide_modes"]["traditional"]["delta_saturation_quality"]
    assert undefined["mean"] is None and undefined["n"] == 0
    assert undefined["reason"] == "no residual prediction"
    assert set(results["baselines"]) == set(Reference)
    assert {"id", "target", "verdict", "effect", "low", "high", "n"} <= set(results["claims"][0])


def test_tuned_rows_are_the_guides_where_tuning_kept_it(built: Path) -> None:
    results = results_of(built)
    assert results["modes"]["linear_probe"] == results["guide_modes"]["linear_probe"]
    assert results["modes"]["residual"] != results["guide_modes"]["residual"]


def test_keys_are_sorted(built: Path) -> None:
    results = results_of(built)
    text = json.dumps(results, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert (built / "results.json").read_text() == text


def test_the_same_store_gives_the_same_bytes(built: Path) -> None:
    def hashes() -> dict[str, str]:
        files = [*built.glob("report.*"), built / "results.json", *built.glob("figures/*"),
                 *built.glob("tables/*")]  # fmt: skip
        return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

    before = hashes()
    build_report(built)
    assert hashes() == before


def test_curves_come_in_bulk_and_whole(built: Path) -> None:
    ablation = load_ablation(f"sqlite:///{built}/mlflow.db")
    assert len(ablation.curves) == len(ablation.cells) * 9  # epochs 0 to 8
    traditional = ablation.curves["mode"] == "traditional"
    assert ablation.curves.loc[traditional, "delta_saturation_quality"].isna().all()
    assert ablation.curves.loc[~traditional, "delta_saturation_quality"].notna().all()


def test_every_run_is_in_the_table(built: Path) -> None:
    runs = pd.read_csv(built / "tables" / "runs.csv")
    assert {"COMPLETE", "PRUNED", "FAIL"} <= set(runs["status"])
    assert runs["error"].str.contains("made up# <failure>", regex=False).sum() == 4


@pytest.mark.parametrize(
    "made",
    [
        Made(targets=("consistency",), n_splits=2, modes=("traditional", "residual")),
        Made(modes=("traditional",), n_splits=2, references=False, generators=False, n_trials=0),
        Made(protocol="grouped_kfold", n_splits=5, n_trials=0, modes=("residual", "linear_probe")),
        Made(modes=(), references=False, complete=False),
        Made(n_splits=1, epochs=1, n_trials=1, modes=("residual",)),
    ],
    ids=["one target", "traditional alone", "k-fold", "nothing finished", "one split"],
)
def test_partial_ablations_build(made: Made, tmp_path: Path) -> None:
    make_ablation(tmp_path, made)
    assert build_report(tmp_path).stat().st_size > 10_000
    pooled = results_of(tmp_path)["pooled_out_of_fold"]
    assert bool(pooled) == (made.protocol == "grouped_kfold")


def test_smoke_and_incomplete_stand_on_every_page(tmp_path: Path) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext to read the pages back")
    notes = [f"Something to keep in mind, number {k}: " + "word " * 50 for k in range(9)]
    params = {"notes": json.dumps(notes)}
    made = Made(n_splits=2, n_trials=0, complete=False, profile="smoke", params=params)
    make_ablation(tmp_path, made)
    pdf = str(build_report(tmp_path))
    text = subprocess.run(["pdftotext", pdf, "-"], capture_output=True, text=True, check=True)
    pages = text.stdout.rstrip("\f").split("\f")
    assert len(pages) > 5 and not text.stderr
    # however much there is to keep in mind, the cover is one page
    assert "Wall time" in pages[0] and "The modes side by side" in pages[1]
    for page in pages:
        assert "INCOMPLETE · smoke run: proves nothing" in page


def test_hostile_prompts_come_out_as_text(built: Path) -> None:
    content = worst_cases(load_ablation(f"sqlite:///{built}/mlflow.db"))
    prompts = " ".join(case["prompt"] for case in content)
    assert "#set page(fill: red) $x^2$" in prompts
    assert "(10,000 characters)" in prompts


def test_different_data_in_one_store_is_refused(tmp_path: Path) -> None:
    make_ablation(tmp_path, Made(n_splits=1, modes=(), references=False))
    other = Made(n_splits=1, modes=(), references=False, params={"data_sha256": "ef" * 32})
    make_ablation(tmp_path, other)
    with pytest.raises(UserError, match="differ in data_sha256"):
        load_ablation(f"sqlite:///{tmp_path}/mlflow.db")


def test_a_missing_store_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make ablation"):
        build_report(tmp_path)


def test_page_text_keeps_text_and_cuts_it() -> None:
    assert page_text("#let x = $1$\n*b*\x00", 50) == "#let x = $1$ *b*"
    assert page_text("a" * 10_000, 10) == "aaaaaaaaaa … (10,000 characters)"


def test_labels_move_apart_and_stay_inside() -> None:
    placed = spread([0.5, 0.51, 0.52, 0.9], 0.1, 0.0, 1.0)
    gaps = sorted(placed)
    assert all(b - a > 0.0999 for a, b in pairwise(gaps))
    assert min(placed) >= 0 and max(placed) <= 1


def test_the_report_never_imports_torch() -> None:
    code = (
        "import sys, reports.build, reports.evidence.load, reports.claims, reports.paper.content,"
        " reports.figures.catalogue, reports.verdicts.pooled, reports.paper.tables;"
        " sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.7564, ".756"), (-0.031, "−.031"), (20.427, "20.427"), (-40.12, "−40.120"), (1, "1.000")],
)
def test_a_score_keeps_all_digits_before_the_point(value: float, text: str) -> None:
    assert format_score(value) == text
