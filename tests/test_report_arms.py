"""Further arms and published results in the report, from a store with made-up scores."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from corrected_t import corrected_t
from report_fixture import ARMS, MODES, Made, make_ablation

from reports.build import build_report
from reports.claims import CLAIMS
from reports.evidence.ablation import Ablation
from reports.evidence.load import load_ablation
from reports.figures.arms.line import compute_line
from reports.figures.catalogue import draw_arms
from reports.paper.arms import arm_content
from reports.paper.published import ANCHORS, METHOD, PAPERS, published_content
from reports.statistics import holm
from reports.verdicts.arms import arm_gains, arm_results
from reports.verdicts.contrasts import Evidence
from reports.verdicts.decide import decide
from reports.verdicts.results import reference_entries


def load(out: Path) -> Ablation:
    return load_ablation(f"sqlite:///{out}/mlflow.db")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("arms")
    make_ablation(out, Made(n_splits=4, arms=ARMS, n_trials=2, params={"data_name": "agiqa3k"}))
    return out


@pytest.fixture(scope="module")
def ablation(out: Path) -> Ablation:
    return load(out)


def test_arms_stand_beside_the_modes_and_not_among_them(ablation: Ablation) -> None:
    assert ablation.mode_names == MODES
    assert ablation.arms is not None and ablation.arms.mode_names == ARMS
    evidence = Evidence(ablation, "guide")
    assert evidence.modes == MODES
    contrasts = {v.contrast for v in decide(CLAIMS, evidence, ablation.targets)}
    assert not any(arm.replace("_", " ") in words for words in contrasts for arm in ARMS)
    kinds = ablation.runs[ablation.runs["kind"] == "confirmation"]
    assert len(kinds) == len(ablation.cells) + len(ablation.arms.cells)


def test_gains_are_paired_with_the_mode_and_adjusted_in_a_family_of_their_own(
    ablation: Ablation,
) -> None:
    gains = arm_gains(ablation)
    assert [(g.arm, g.target) for g in gains] == [
        (arm, target) for arm in ARMS for target in ablation.targets
    ]
    assert ablation.arms is not None
    p_values = []
    for gain in gains:
        measure = f"test_srocc_{gain.target}"
        own, other = ablation.arms.by_split(gain.arm, measure), ablation.by_split(gain.of, measure)
        plain = corrected_t((own - other).to_numpy(float), ablation.variance_factor(4))
        assert (gain.interval.low, gain.interval.high) == pytest.approx((plain.low, plain.high))
        p_values.append(plain.p)
    np.testing.assert_allclose(np.array([gain.p for gain in gains], float), holm(p_values))
    for gain in gains:
        assert gain.adjusted.low is not None and gain.interval.low is not None
        assert gain.adjusted.low <= gain.interval.low


def test_the_line_of_interpolated_weights_and_where_each_split_stays(ablation: Ablation) -> None:
    line = compute_line(ablation, "wise_ft_alignment_retention")
    assert line.table.shape == (11, 4)
    assert line.table.loc[100].tolist() == pytest.approx([0.8] * 4)
    assert line.chosen == {0: 60, 1: 70, 2: 60, 3: 70}


def test_the_report_has_the_arms_and_the_published_table(out: Path) -> None:
    assert build_report(out).stat().st_size > 10_000
    results = json.loads((out / "results.json").read_text())
    assert set(results["guide_modes"]) == set(MODES)
    assert set(results["guide_arms"]) == set(results["arms"]) == set(ARMS)
    assert results["guide_arms"]["lp_ft"]["alignment_retention"]["n"] == 4
    assert len(results["arm_comparisons"]["guide"]) == 4
    for name in ("arms", "arms_retention", "wise_ft"):
        assert (out / "figures" / f"{name}.svg").exists()
    commands = (out / "tables" / "commands.csv").read_text()
    assert "ARMS=lp_ft,wise_ft" in commands


def test_without_arms_and_on_other_data_there_is_no_such_section(tmp_path: Path) -> None:
    make_ablation(tmp_path, Made(n_splits=1, n_trials=0, modes=("residual",), references=False))
    plain = load(tmp_path)
    found = arm_results(plain)
    assert plain.arms is None and found["arms"] == {}
    assert draw_arms(plain, tmp_path) == []
    assert arm_content(plain, found, []) == {"arms": None}
    assert published_content({"this": (plain, found)}) == {"published": None}


@pytest.mark.parametrize(
    ("name", "groups"), [("agiqa3k", 4), ("aigciqa2023", 3), ("evalmuse40k", 2)]
)
def test_each_data_set_has_the_groups_that_were_published(
    name: str, groups: int, out: Path
) -> None:
    loaded = load(out)
    named = dataclasses.replace(loaded, params=loaded.params | {"data_name": name})
    results = {"modes": {}, "arms": {}, "baselines": reference_entries(named)}
    content = published_content({"this": (named, results)})
    assert len(content["published"]["groups"]) == groups
    titles = [group["title"] for group in content["published"]["groups"]]
    assert ("one run" in " ".join(titles)) == (name == "agiqa3k")


def test_published_scores_are_probabilities_of_four_columns() -> None:
    assert PAPERS.keys() >= METHOD.keys() | ANCHORS.keys()
    for table in (*PAPERS.values(), *METHOD.values(), *ANCHORS.values()):
        for scores in table.values():
            assert len(scores) == 4 and all(s is None or 0 < s < 1 for s in scores)
