"""The ladder in the report: which rungs are kept, with known answers."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_claims import ORDERED, make

from qa_core.targets import Target
from reports.evidence.design import Design
from reports.evidence.studies import Study
from reports.figures.catalogue import STUDIES
from reports.figures.studies.ladder import compute_ladder
from reports.verdicts.ladder import cheapest, climb

SPLITS = 5
DESIGN = Design(True, SPLITS, 1 / SPLITS, 1 / SPLITS)
BOTH = (Target.QUALITY, Target.CONSISTENCY)
RUNGS: dict[str, tuple[float, float, float, int]] = {
    "residual": (0.7, 0.5, 0.8, 900_000),
    "lora": (0.7, 0.5, 0.9, 40_000),
    "projection": (0.705, 0.505, 0.97, 20_000),
    "bias_norm": (0.72, 0.4, 0.99, 26_000),
    "linear_probe": (0.6, 0.5, 1.0, 16_000),
}
"""Quality, consistency, retention and parameters of each rung."""


def ladder_study(rungs: dict[str, tuple[float, float, float, int]], noise: float = 0.002) -> Study:
    rng = np.random.default_rng(1)
    rows = [
        {
            "point": number,
            "varies": "rung",
            "rung": name,
            "mode": name,
            "lr": 1e-4,
            "pool": 0.5,
            "train_share": 1.0,
            "split": split,
            "run_id": f"{number}/{split}",
            "test_srocc_quality": quality + rng.normal(0, noise),
            "test_srocc_consistency": consistency + rng.normal(0, noise),
            "alignment_retention": retention,
            "trainable_parameters": parameters,
        }
        for number, (name, (quality, consistency, retention, parameters)) in enumerate(
            rungs.items()
        )
        for split in range(SPLITS)
    ]
    return Study("ladder", "?", 8, DESIGN, pd.DataFrame(rows), len(rows))


def test_rungs_within_the_margin_on_both_targets_are_kept() -> None:
    ladder = climb(ladder_study(RUNGS), BOTH, 0.02)
    assert [rung.name for rung in ladder] == [
        *("linear_probe", "projection", "bias_norm", "lora", "residual"),
    ]
    assert {rung.name for rung in ladder if rung.is_kept} == {"projection", "lora"}
    best = cheapest(ladder)
    assert best is not None and (best.name, best.parameters) == ("projection", 20_000)
    kept = {rung.name: rung.retention for rung in ladder}["lora"]
    assert kept is not None and (kept.mean, kept.low, kept.high) == pytest.approx((0.9,) * 3)


def test_the_p_value_by_hand() -> None:
    two = {name: RUNGS[name] for name in ("residual", "lora")}
    study = ladder_study(two, noise=0.02)
    p_values = []
    for target in BOTH:
        table = study.cells.pivot_table(
            index="split", columns="rung", values=f"test_srocc_{target}"
        )
        difference = table["lora"] - table["residual"]
        p_values.append(stats.ttest_1samp(difference, -0.02, alternative="greater")[1])
    (rung,) = (one for one in climb(study, BOTH, 0.02) if one.name == "lora")
    assert rung.p == pytest.approx(max(p_values))


def test_where_none_is_shown_or_one_split_ran_nothing_is_claimed() -> None:
    noisy = climb(ladder_study(RUNGS, noise=0.2), BOTH, 0.02)
    assert cheapest(noisy) is None
    study = ladder_study(RUNGS)
    one = dataclasses.replace(study, cells=study.cells[study.cells["split"] == 0])
    assert [rung.p for rung in climb(one, BOTH, 0.02)] == [None] * len(RUNGS)
    nothing = dataclasses.replace(study, cells=study.cells.iloc[:0])
    assert climb(nothing, BOTH, 0.02) == []


def test_the_page_names_what_is_kept() -> None:
    study = ladder_study(RUNGS)
    data = compute_ladder(study, BOTH, 0.02, Target.QUALITY, "retention")
    scores = study.cells[study.cells["rung"] == "residual"]["test_srocc_quality"]
    assert data.limit == pytest.approx(scores.mean() - 0.02)
    ablation = make(ORDERED)
    figure, caption = STUDIES["ladder"](ablation, study)
    assert (
        "Ringed: projections and LoRA. The cheapest of them is projections, with 20,000" in caption
    )
    assert len(figure.axes) == 4
    bare = dataclasses.replace(study, cells=study.cells.drop(columns="alignment_retention"))
    assert compute_ladder(bare, BOTH, 0.02, Target.QUALITY, "retention").rungs == []
