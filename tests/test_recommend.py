"""The recommendation, and what the bound earns, on ablations with known answers."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from test_claims import MODES, make
from test_verdict_designs import REPLICATES, with_params

from qa_core.measures.catalogue import SATURATION, SROCC
from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.figures.forest import SHOWN, compute_effects
from reports.figures.glance import LINES, compute_panel
from reports.text.advice import earned_words, recommendation_words
from reports.verdicts.recommend import recommend
from reports.verdicts.results import comparisons, mode_entries


def measured(scores: dict[str, float], noise: float = 0.005, **params: str) -> Ablation:
    made = make(scores, noise, gap=0.03)
    made.cells["alignment_retention"] = 0.9
    made.cells["train_val_gap_last_quality"] = 0.03
    return with_params(made, **REPLICATES | {"n_prompts": "479"} | params)


def recommended(ablation: Ablation) -> dict:
    return recommend(ablation, mode_entries(ablation, "guide"), {})


def test_the_cheapest_of_equals_is_recommended_with_its_figures_beside_the_bests() -> None:
    found = recommended(measured(dict(zip(MODES, (0.60, 0.70, 0.70, 0.70), strict=True))))
    assert (found["mode"], found["margin"]) == ("linear_probe", 0.02)
    assert found["candidates"]["linear_probe"]["low_holm"] > -0.02
    assert found["candidates"]["traditional"]["p_holm"] > 0.9
    assert set(found["figures"]) == {"linear_probe", found["best"]}
    assert found["figures"]["linear_probe"]["trainable_parameters"] == 1
    words = recommendation_words(found)
    assert words.startswith("Recommended: linear probe, the cheapest of the modes")
    low = found["candidates"]["linear_probe"]["lowest_holm"]
    assert f"(at most {-low:.3f} below the best, ".replace("0.", ".") in words
    assert "1 trained parameters, 0.5 s an epoch, alignment retention .900" in words


def test_how_far_below_the_best_it_may_lie_is_told_by_the_lowest_of_all_bounds() -> None:
    scores = dict(zip(MODES, (0.69, 0.712, 0.70, 0.70), strict=True))
    ablation = measured(scores, noise=0.0005)
    noisy = (ablation.cells["mode"] == "traditional").to_numpy()
    spread = np.random.default_rng(0).normal(0, 0.02, int(noisy.sum()))
    for target in ("quality", "consistency"):
        ablation.cells.loc[noisy, f"test_srocc_{target}"] += spread - spread.mean()
    found = recommended(ablation)
    probe = found["candidates"]["linear_probe"]
    assert (found["mode"], found["best"]) == ("linear_probe", "residual")
    assert probe["rival"] == "traditional"  # tells least, and is no better than the probe
    assert -0.015 < probe["lowest_holm"] < -0.012 < probe["low_holm"]


def test_a_cheap_mode_that_falls_short_is_not() -> None:
    found = recommended(measured(dict(zip(MODES, (0.60, 0.70, 0.75, 0.70), strict=True))))
    assert found["mode"] == found["best"] == "residual_partial_freeze"


def test_without_precision_none_is_and_the_prompts_that_it_would_take_are_told() -> None:
    found = recommended(measured(dict.fromkeys(MODES, 0.7), noise=0.03))
    assert found["mode"] is None and found["prompts_needed"] > 479
    assert f"About {found['prompts_needed']:,} prompts" in recommendation_words(found)
    wide = recommended(measured(dict.fromkeys(MODES, 0.7), noise=0.03, margin="0.2"))
    assert wide["mode"] == "linear_probe"


def test_photographs_with_one_score_are_counted_as_images() -> None:
    own = measured(dict.fromkeys(MODES, 0.7), noise=0.03)
    images = pd.DataFrame({"prompt": ["", ""]})
    one = dataclasses.replace(own, images=images, targets=(Target.QUALITY,))
    found = recommended(one)
    assert (found["n_targets"], found["counted"]) == (1, "images")
    words = recommendation_words(found)
    assert f"About {found['prompts_needed']:,} images" in words and "every target" not in words
    older = {k: v for k, v in found.items() if k not in ("n_targets", "counted")}
    assert "every target" in recommendation_words(older)


def test_a_protocol_that_decides_nothing_recommends_nothing() -> None:
    found = recommended(measured(dict.fromkeys(MODES, 0.7), protocol="common"))
    assert found["mode"] is None and "protocol" in found["reason"]
    words = recommendation_words(found)
    assert words == f"No mode can be recommended: {found['reason']}."


def test_what_confirmed_one_mode_says_so() -> None:
    for scores in ({"residual": 0.7}, {"residual": 0.7, "matched_direct": 0.7}):
        alone = recommendation_words(recommended(measured(scores)))
        assert alone == "No mode can be recommended: fewer than two modes were confirmed."


def test_the_cover_says_what_the_bound_earns_and_what_skip_and_start_do() -> None:
    scores = dict(zip(MODES, (0.60, 0.70, 0.75, 0.70), strict=True)) | {"matched_direct": 0.69}
    rows = comparisons(measured(scores, noise=0.002), "guide")
    words = earned_words(rows, "quality")
    assert words.startswith("On quality residual is +.1")
    assert "matched direct − traditional: shown to be above 0" in words
    means = {(r["first"], r["second"]): r["difference"]["mean"] for r in rows[: len(rows) // 2]}
    bound = means["residual", "matched_direct"]
    assert f"the bound itself earns +{bound:.3f}".replace("0.", ".") in words
    assert earned_words(comparisons(measured(dict.fromkeys(MODES, 0.7)), "guide"), "quality") == ""


def test_a_difference_that_rounds_to_nothing_has_no_sign() -> None:
    own = comparisons(measured(dict.fromkeys((*MODES, "matched_direct"), 0.7)), "guide")
    for row in own:
        row["difference"]["mean"] = -0.0004
    assert "residual is .000 from" in earned_words(own, "quality")
    for row in own:
        row["difference"]["mean"] = 0.0004
    assert "bound itself earns .000" in earned_words(own, "quality")


@pytest.mark.parametrize("target", ["quality", "consistency"])
def test_a_bound_that_costs_is_told_with_its_sign(target: str) -> None:
    scores = dict.fromkeys(MODES, 0.7) | {"matched_direct": 0.75}
    words = earned_words(comparisons(measured(scores), "guide"), target)
    assert "(residual − matched direct: shown to be below 0)" in words and "earns −.0" in words


def test_the_cover_draws_each_contrast_in_its_own_direction() -> None:
    scores = dict(zip(MODES, (0.60, 0.70, 0.75, 0.70), strict=True)) | {"matched_direct": 0.70}
    ablation = measured(scores, noise=0.002)
    rows = comparisons(ablation, "guide")
    known = {frozenset((r["first"], r["second"])): r for r in rows if r["target"] == "quality"}
    effects = compute_effects(ablation, "quality")
    assert [(e.first, e.second) for e in effects] == list(SHOWN)
    for effect in effects:
        row = known[frozenset((effect.first, effect.second))]
        sign = 1 if row["first"] == effect.first else -1
        ends = sorted((sign * row["low_holm"], sign * row["high_holm"]))
        assert effect.mean == pytest.approx(sign * row["difference"]["mean"])
        assert [effect.low, effect.high] == pytest.approx(ends)
    words = {(e.first, e.second): e.word for e in effects}
    assert words["residual", "traditional"] == "better"
    assert words["residual_partial_freeze", "linear_probe"] == "better"
    assert words["residual", "matched_direct"] == "same"


def test_the_cover_shows_a_dash_where_a_measure_is_undefined() -> None:
    ablation = measured(dict.fromkeys(MODES, 0.7))
    shown = compute_panel(ablation, SROCC, Target.QUALITY, None)
    assert set(shown.intervals) == set(MODES) and set(shown.lines) <= set(LINES)
    assert all(one is not None and one.low is not None for one in shown.intervals.values())
    undefined = compute_panel(ablation, SATURATION, Target.QUALITY, 0.1)
    assert set(undefined.intervals.values()) == {None} and not undefined.lines
