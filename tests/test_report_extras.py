"""What the report adds beside its main pages: commands, others' predictions, side by side, gaps."""

import json
import re
import resource
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_fixture import Made, make_ablation

from experiments.baseline import BaselineArgs
from experiments.cli.data_flags import DataFlags, data_settings
from qa_core import command_line as cli
from qa_core.config import RunConfig, run_config_from_flat, with_settings
from qa_core.errors import UserError
from qa_core.records.schema import Param
from qa_core.records.tracking import as_text
from qa_core.targets import Target
from reports.build import build_report, build_side_by_side, named_files
from reports.evidence.ablation import Ablation
from reports.evidence.commands import SCRIPT, ablation_command, command_rows, run_command
from reports.evidence.frames import per_split, select
from reports.evidence.load import load_ablation
from reports.evidence.others import with_predictions
from reports.figures.deciles import compute_deciles
from reports.figures.importance import compute_history, compute_importance
from reports.figures.wins import compute_wins
from reports.own_claims import read_claims
from reports.paper.latex import booktabs, escape
from reports.paper.published import published_content
from reports.paper.tables import contrast_words
from reports.verdicts.contrasts import Evidence
from reports.verdicts.decide import decide

OWN_CLAIM = """
from reports.claims import Claim

def half(evidence, target):
    return [evidence.level("residual", f"test_srocc_{target}", null=0.5, above=True)]

CLAIMS = [Claim("half", "Residual reaches .5", "mean test SROCC above .5", half)]
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an ablation without a report."""
    folder = tmp_path_factory.mktemp("extras")
    make_ablation(folder, Made(n_splits=3, modes=("traditional", "residual")))
    return folder


@pytest.fixture(scope="module")
def ablation(out: Path) -> Ablation:
    return load_ablation(f"sqlite:///{out}/mlflow.db")


def write_predictions(ablation: Ablation, path: Path, **columns: object) -> Path:
    tested = ablation.predictions.drop_duplicates("row")
    table = pd.DataFrame({"name": tested["name"], "quality": 100 * tested["mos_quality"]})
    table.assign(**columns).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "config",
    [
        with_settings(RunConfig(), lr=1e-4, lr_head=1e-3, threads=1),
        with_settings(RunConfig(), partial_freeze=True, freeze_layers=7, residual_scale_q=0.3416),
        with_settings(RunConfig(), residual_learning=False, fusion_inputs=("img", "product")),
        run_config_from_flat(
            {"data_csv_path": "my data/$x.csv", "mos_range_q": (1.0, 5.0), "cache": False}
        ),
        run_config_from_flat({"data_csv_path": "x.csv", "image_view": "whole"}),
        run_config_from_flat({"data_csv_path": "x.csv", "backbone": "ViT-B-32"}),
    ],
)
def test_a_runs_command_gives_back_its_configuration(config: RunConfig, ablation: Ablation) -> None:
    logged = {name: as_text(value) for name, value in config.flat().items()}
    command = run_command(logged, ablation, 2)
    assert command.startswith(SCRIPT)
    args = cli.parse(BaselineArgs, "", shlex.split(command.removeprefix(SCRIPT)))
    assert args.run == config
    assert (args.split, args.protocol, args.test) == (2, "honest", True)


def test_a_run_older_than_a_protocols_flag_says_it_in_its_command(ablation: Ablation) -> None:
    published = replace(ablation, params=ablation.params | {"protocol": "published"})
    logged = {name: as_text(value) for name, value in RunConfig().flat().items()}
    logged |= {"selection_metric": "srocc_consistency"}
    older = {name: text for name, text in logged.items() if name != "augment"}
    assert "--augment none" in run_command(older, published, 0)
    now = run_command(logged | {"augment": "crop_flip"}, published, 0)
    assert "--augment" not in now and "--selection_metric" not in now


def test_every_run_has_a_command(ablation: Ablation) -> None:
    rows = command_rows(ablation)
    assert [row["run_id"] for row in rows] == list(ablation.runs["run_id"])
    assert ablation.runs["run_id"].is_unique
    whole = "make ablation PROFILE=default PROTOCOL=honest"
    assert ablation_command(ablation) == whole
    precise = {Param.CACHE_PRECISION: "half", Param.AMP_ON_CPU: "True"}
    other = replace(ablation, params=ablation.params | precise)
    assert ablation_command(other) == f"{whole} CACHE_PRECISION=half AMP_ON_CPU=1"
    assert sum(row["command"] != whole for row in rows) == len(ablation.cells)


@pytest.mark.parametrize(
    "given",
    [
        {"data": "agiqa3k", "data_root": "."},
        {"data": "agiqa3k", "data_root": ".", "data_test": "."},
        {"data": "agiqa3k", "data_root": ".", "data_test": "agiqa1k", "data_test_root": "."},
        {"table": "a b.csv", "images": ".", "columns": ("name=x", "prompt=y z"), "range_q": "1:5"},
    ],
)
def test_the_command_of_the_whole_names_the_same_data(
    given: dict[str, Any], ablation: Ablation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.csv").touch()
    paths = ("data", "data_root", "data_test", "data_test_root", "table", "images")
    flags: dict[str, Any] = {n: Path(v) if n in paths else v for n, v in given.items()}
    settings = data_settings(DataFlags(**flags))
    logged = {n: as_text(v) for n, v in run_config_from_flat(settings).flat().items()}
    cells = ablation.cells.head(1).assign(params=[logged])
    command = ablation_command(replace(ablation, cells=cells))
    said = dict(word.split("=", 1) for word in shlex.split(command)[2:])
    wanted = given | {"columns": " ".join(given.get("columns", ()))}
    assert {name: said.get(name.upper(), "") for name in wanted} == wanted


def test_predictions_of_others_become_a_row(ablation: Ablation, tmp_path: Path) -> None:
    file = write_predictions(ablation, tmp_path / "theirs.csv")
    row = with_predictions(ablation, "theirs", file)
    assert row.reference_names[-1] == "theirs"
    own = select(row.references, reference="theirs")
    np.testing.assert_allclose(own["test_srocc_quality"].astype(float), 1.0)  # a rescaled opinion
    assert len(own) == 3
    ours = pd.read_csv(file).rename(columns={"name": "image", "quality": "q"})
    ours["image"] = "some/folder/" + ours["image"]  # as experiments/predict.py writes it
    ours.to_csv(tmp_path / "ours.csv", index=False)
    again = with_predictions(ablation, "theirs", tmp_path / "ours.csv")
    pd.testing.assert_frame_equal(again.references, row.references)
    assert per_split(own, "test_srocc_consistency").empty
    assert "scale" in next(iter(own["undefined"]))["test_rmse_quality"]


def test_predictions_that_cannot_be_used_are_told(ablation: Ablation, tmp_path: Path) -> None:
    def refused(wanted: str, words: str) -> None:
        with pytest.raises(UserError, match=words):
            for name, path in named_files(wanted).items():
                with_predictions(ablation, name, path)

    refused("nothing", "of the form")
    refused("x:nowhere.csv", "no file")
    refused(f"x:{__file__} x:{__file__}", "x is there twice")
    file = write_predictions(ablation, tmp_path / "a.csv")
    refused(f"ridge:{file}", "called ridge already")
    table = pd.read_csv(file)
    table.iloc[1:].to_csv(tmp_path / "b.csv", index=False)
    refused(f"x:{tmp_path / 'b.csv'}", "lacks 1 of")
    pd.concat([table, table.head(1)]).to_csv(tmp_path / "c.csv", index=False)
    refused(f"x:{tmp_path / 'c.csv'}", "twice")
    write_predictions(ablation, tmp_path / "d.csv", quality="good")
    refused(f"x:{tmp_path / 'd.csv'}", "not a number")
    table.rename(columns={"quality": "score"}).to_csv(tmp_path / "e.csv", index=False)
    refused(f"x:{tmp_path / 'e.csv'}", "at least one of")


def test_own_claims_stand_beside_the_guides(out: Path, ablation: Ablation, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN_CLAIM)
    file = write_predictions(ablation, tmp_path / "theirs.csv")
    (tmp_path / "mlflow.db").write_bytes((out / "mlflow.db").read_bytes())
    wanted = shlex.quote(f"x#$_{{}}:{file}")
    build_report(tmp_path, predictions=wanted, claims=tmp_path / "mine.py")
    results = json.loads((tmp_path / "results.json").read_text())
    assert {c["verdict"] for c in results["claims"] if c["id"] == "half"} == {"supported"}
    assert results["baselines"]["x#$_{}"]["srocc_quality"]["mean"] == pytest.approx(1.0)
    assert r"x\#\$\_\{\}" in (tmp_path / "tables" / "scores_quality.tex").read_text()
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.svg")}
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} == drawn


@pytest.mark.parametrize("page", ["README.md", "docs/report.md"])
def test_the_claim_that_a_page_shows_is_decided(
    page: str, ablation: Ablation, tmp_path: Path
) -> None:
    text = (Path(__file__).resolve().parents[1] / page).read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (code,) = (example for example in examples if "CLAIMS" in example)
    (tmp_path / "mine.py").write_text(code.replace("linear_probe", "traditional"))
    (verdict,) = decide(
        read_claims(tmp_path / "mine.py"), Evidence(ablation, "guide"), ("quality",)
    )
    assert verdict.verdict != "not tested"


def test_own_claims_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    for text, words in (
        ("CLAIMS = 3", "needs a list"),
        ("import nothing_there", "cannot be run"),
        (OWN_CLAIM.replace('"half"', '"gap_under_limit"'), "gap_under_limit already"),
    ):
        (tmp_path / "mine.py").write_text(text)
        with pytest.raises(UserError, match=words):
            read_claims(tmp_path / "mine.py")


def test_ablations_stand_side_by_side(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    made = Made(n_splits=2, n_trials=0, modes=("residual",), targets=("quality",), complete=False)
    make_ablation(other, replace(made, params={"data_sha256": "ef" * 32}))
    pdf = build_side_by_side([out, other], tmp_path / "both")
    assert pdf.stat().st_size > 10_000
    ablations = json.loads((tmp_path / "both" / "results.json").read_text())["ablations"]
    assert set(ablations) == {str(out), str(other)}
    text = (tmp_path / "both" / "tables" / "scores_consistency.tex").read_text()
    residual = next(line for line in text.splitlines() if line.startswith("residual &"))
    assert residual.endswith(r"& -- & -- \\")  # the other data set has no consistency
    with pytest.raises(UserError, match="two different"):
        build_side_by_side([out, out], tmp_path / "both")


def test_what_an_earlier_report_wrote_stays_whole_when_the_disk_is_full(
    ablation: Ablation, out: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    (copy / "tables").mkdir(exist_ok=True)
    (copy / "tables" / "modes_guide.csv").write_text("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # as a disk with no more room
    try:
        with pytest.raises(OSError, match="File too large"):
            build_report(copy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert before == {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}


def test_ablations_of_a_published_data_set_stand_beside_its_papers(ablation: Ablation) -> None:
    named = {
        protocol: replace(
            ablation,
            params=ablation.params | {Param.DATA_NAME: "agiqa3k", Param.PROTOCOL: protocol},
        )
        for protocol in ("honest", "published")
    }
    results = {"modes": {}, "arms": {}, "baselines": {"ridge": {}}}
    found = published_content({name: (one, results) for name, one in named.items()})["published"]
    titles = [group["title"] for group in found["groups"]]
    assert titles[0].startswith("Published") and titles[-2].startswith("honest: ")
    assert "chosen on test by consistency" in titles[-1]
    assert [row["name"] for row in found["groups"][-1]["rows"]] == ["ridge"]
    other = replace(ablation, params=ablation.params | {Param.DATA_NAME: "aigciqa2023"})
    both = {"one": (other, results), "two": (named["honest"], results)}
    assert published_content(both)["published"] is None  # two data sets share no table


def test_runs_on_other_images_are_refused(tmp_path: Path) -> None:
    make_ablation(tmp_path, Made(n_splits=2, n_trials=0, modes=("residual", "linear_probe")))
    files = sorted(tmp_path.glob("artifacts/*/artifacts/predictions.csv"))
    whole = pd.read_csv(files[0], keep_default_na=False)
    whole.iloc[1:].to_csv(files[0], index=False)
    with pytest.raises(UserError, match="tested different images in split"):
        load_ablation(f"sqlite:///{tmp_path}/mlflow.db")
    whole.assign(mos_quality=0.5).to_csv(files[0], index=False)
    with pytest.raises(UserError, match="different data"):
        load_ablation(f"sqlite:///{tmp_path}/mlflow.db")


def test_splits_won_mirror_each_other(ablation: Ablation) -> None:
    shares = compute_wins(ablation, "quality").shares
    assert shares[0, 1] + shares[1, 0] == pytest.approx(1.0)
    difference = ablation.by_split("residual", "test_srocc_quality") - ablation.by_split(
        "traditional", "test_srocc_quality"
    )
    assert shares[1, 0] == pytest.approx(float((difference > 0).mean()))
    assert np.isnan(np.diag(shares)).all()


def test_errors_by_decile(ablation: Ablation) -> None:
    predictions = ablation.predictions.assign(q=0.5)
    data = compute_deciles(replace(ablation, predictions=predictions), Target.QUALITY)
    errors = data.by_mode["residual"]
    assert list(errors.index) == list(range(1, 11))
    assert (np.diff(errors["bias"]) < 0).all()  # a constant prediction is drawn to the middle
    assert errors["bias"].iloc[0] > 0 > errors["bias"].iloc[-1]
    np.testing.assert_allclose(errors["size"].iloc[[0, -1]], errors["bias"].iloc[[0, -1]].abs())


def test_history_and_importance_within_a_mode(ablation: Ablation) -> None:
    best = compute_history(ablation).by_mode["residual"]["best"]
    assert best.is_monotonic_increasing
    rng = np.random.default_rng(0)
    trials = pd.DataFrame(
        {"mode": "residual", "trial": range(30), "state": "COMPLETE", "freeze_layers": np.nan,
         "lr": 10 ** rng.uniform(-5, -3, 30), "residual_scale_q": rng.uniform(0.1, 0.4, 30),
         "residual_scale_c": 0.2}
    )  # fmt: skip
    trials["objective"] = -np.abs(np.log10(trials["lr"]) + 4)
    importance = compute_importance(replace(ablation, trials=trials))
    found = importance.by_mode["residual"].to_dict()
    assert set(found) == {"lr", "residual_scale_q"}  # the others do not vary
    assert found["lr"] > found["residual_scale_q"]
    assert sum(found.values()) == pytest.approx(1.0)


def test_latex_is_escaped_and_ruled() -> None:
    assert escape("50 % of $x_1 & {y}#~^\\") == (
        r"50 \% of \$x\_1 \& \{y\}\#\textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    table = booktabs(["mode", "SROCC"], [("", [["a", "−.1"]]), ("b", [["c", "–"]])], "100 %")
    assert [table.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 2, 1]
    assert r"a & $-$.1 \\" in table


def test_contrasts_are_named_as_modes_are() -> None:
    assert contrast_words("residual partial freeze − zeroshot") == (
        "residual + partial freeze − zero-shot"
    )
