"""The guide's claims, decided on frames with known answers."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from corrected_t import corrected_t

from qa_core.targets import TARGETS
from reports.claims import CLAIMS
from reports.evidence.ablation import Ablation
from reports.text.advice import recommendation_words
from reports.text.standing import standing_in_words, told_apart
from reports.verdicts.contrasts import Contrast, Evidence
from reports.verdicts.decide import Claim, Verdict, decide
from reports.verdicts.recommend import recommend
from reports.verdicts.results import claim_entry, mode_entries, reference_entries

MODES: tuple[str, ...] = ("traditional", "residual", "residual_partial_freeze", "linear_probe")


def make(scores: Mapping[str, float], noise: float = 0.004, epochs: int = 8, **extra: float):
    """An ablation of ten splits in which each mode has this mean SROCC."""
    rng = np.random.default_rng(0)
    rows, curves = [], []
    for mode, mean in scores.items():
        for split in range(10):
            row = {"run_id": f"{mode}{split}", "mode": mode, "setting": "guide", "split": split,
                   "seed": 0, "undefined": {}, "trainable_parameters": 10.0,
                   "seconds_per_epoch": 2.0 if mode != "linear_probe" else 0.5}  # fmt: skip
            if mode == "linear_probe":
                row["trainable_parameters"] = 1.0
            for target in ("quality", "consistency"):
                row[f"test_srocc_{target}"] = mean + rng.normal(0, noise)
                gap = extra.get("gap", 0.03) + rng.normal(0, 0.003)
                row[f"train_val_gap_last_{target}"] = gap
            rows.append(row)
            slow = 12.0 if mode == "traditional" else 2.0
            for epoch in range(1, epochs + 1):
                value = mean * (1 - np.exp(-epoch / slow)) + rng.normal(0, 1e-4)
                curves.append({"run_id": f"{mode}{split}", "mode": mode, "setting": "guide",
                               "split": split, "epoch": epoch, "val_srocc_quality": value,
                               "val_srocc_consistency": value})  # fmt: skip
    references = pd.DataFrame({"reference": "zeroshot", "split": range(10),
                               "test_srocc_consistency": 0.6, "undefined": [{}] * 10})  # fmt: skip
    modes = pd.DataFrame({"mode": list(scores), "tuned_is_guide": True, "tuned_setting": None})
    empty, runs = pd.DataFrame(), pd.DataFrame(columns=pd.Index(["kind", "study"]))
    return Ablation(
        id="id", params={"variance_factor": "0.4", "n_splits": "10", "protocol": "honest"},
        complete=True, wall_s=1.0,
        targets=TARGETS, modes=modes, trials=empty, cells=pd.DataFrame(rows),
        curves=pd.DataFrame(curves), references=references, runs=runs, predictions=empty,
    )  # fmt: skip


def verdicts(ablation: Ablation) -> dict[tuple[str, str], Verdict]:
    found = decide(CLAIMS, Evidence(ablation, "guide"), ablation.targets)
    return {(v.claim.id, v.target): v for v in found}


ORDERED: dict[str, float] = dict(zip(MODES, (0.70, 0.73, 0.78, 0.74), strict=True))


def test_a_clear_order_supports_lift_and_best() -> None:
    found = verdicts(make(ORDERED))
    lift = found["residual_lifts_srocc", "quality"]
    assert lift.verdict == "supported"
    assert lift.effect == pytest.approx(0.03, abs=0.005)
    assert lift.low is not None and lift.low > 0
    assert found["residual_partial_freeze_best", "consistency"].verdict == "supported"
    assert found["modes_beat_zeroshot", "consistency"].verdict == "supported"
    assert found["probe_cheapest", "cost"].verdict == "supported"


def test_the_reverse_refutes() -> None:
    found = verdicts(make(dict(zip(MODES, (0.78, 0.73, 0.70, 0.74), strict=True)), gap=0.2))
    assert found["residual_lifts_srocc", "quality"].verdict == "refuted"
    assert found["residual_partial_freeze_best", "quality"].verdict == "refuted"
    assert found["gap_under_limit", "quality"].verdict == "refuted"


def test_one_undecided_rival_keeps_best_open() -> None:
    noisy = verdicts(make({**ORDERED, "linear_probe": 0.779}, noise=0.015))
    assert noisy["residual_partial_freeze_best", "quality"].verdict == "not decided"
    sure = verdicts(make({**ORDERED, "linear_probe": 0.7795}))
    best = sure["residual_partial_freeze_best", "quality"]
    assert (best.verdict, best.kind) == ("the same within ± .02", "same")
    assert best.contrast == "residual partial freeze − linear probe"
    assert best.low is not None and best.high is not None and -0.02 < best.low < best.high < 0.02


def test_noisy_equals_are_not_decided_and_the_interval_holds_zero() -> None:
    lift = verdicts(make(dict.fromkeys(MODES, 0.7), noise=0.02))["residual_lifts_srocc", "quality"]
    assert lift.verdict == "not decided"
    assert lift.low is not None and lift.high is not None and lift.low < 0 < lift.high


def test_the_gap_limit_is_the_null() -> None:
    gap = verdicts(make(ORDERED, gap=0.03))["gap_under_limit", "quality"]
    assert (gap.verdict, gap.null) == ("supported", 0.05)
    assert gap.high is not None and gap.high < 0.05


def test_short_runs_leave_convergence_untested_and_long_ones_decide_it() -> None:
    short = verdicts(make(ORDERED))["residual_converges_early", "quality"]
    assert short.verdict == "not tested"
    assert "20 epochs" in short.reason
    assert (short.effect, short.n) == (None, 0)
    long = verdicts(make(ORDERED, epochs=24))["residual_converges_early", "quality"]
    assert long.verdict == "supported"


def test_what_needs_another_study_says_so() -> None:
    found = verdicts(make(ORDERED))
    for claim in ("full_catches_up", "freeze_band_best", "batch_size_hardly_matters"):
        assert found[claim, "quality"].verdict == "not tested"
        assert "study" in found[claim, "quality"].reason


def test_a_missing_mode_is_named() -> None:
    found = verdicts(make({m: ORDERED[m] for m in ("residual", "linear_probe")}))
    assert found["residual_lifts_srocc", "quality"].verdict == "not tested"
    assert "traditional" in found["residual_lifts_srocc", "quality"].reason


def test_a_claim_of_ones_own_takes_a_few_lines() -> None:
    def at_least_half(evidence: Evidence, target: str) -> list[Contrast]:
        return [evidence.level("residual", f"test_srocc_{target}", null=0.5, above=True)]

    own = Claim("mine", "Residual reaches .5", "mean above .5", at_least_half)
    found = decide([own], Evidence(make(ORDERED), "guide"), ("quality",))
    assert [(v.claim.id, v.verdict) for v in found] == [("mine", "supported")]


def test_other_arms_take_no_part_in_the_guides_claims() -> None:
    alone, beside = verdicts(make(ORDERED)), verdicts(make({**ORDERED, "lp_ft": 0.9}))
    for claim in ("modes_beat_zeroshot", "probe_cheapest", "residual_partial_freeze_best"):
        for target in ("quality", "consistency", "cost"):
            assert beside.get((claim, target)) == alone.get((claim, target))


def test_fewer_splits_widen_the_interval_by_their_own_factor() -> None:
    ablation = make(ORDERED)
    assert ablation.variance_factor(10) == pytest.approx(0.4)
    assert ablation.variance_factor(5) == pytest.approx(0.4 - 1 / 10 + 1 / 5)
    values = np.linspace(0.1, 0.2, 5)
    expected = corrected_t(values, 0.5)
    found = ablation.interval(values)
    assert (found.low, found.high, found.p) == pytest.approx(
        (expected.low, expected.high, expected.p)
    )


def test_the_cover_leads_with_a_mode_only_where_all_pairs_allow_it() -> None:
    rng = np.random.default_rng(2)
    ablation = make(dict.fromkeys(MODES, 0.7), noise=0.0)
    for mode, lift in (("residual", 0.0), ("linear_probe", 0.022)):
        rows = ablation.cells["mode"] == mode
        ablation.cells.loc[rows, "test_srocc_quality"] = 0.7 + lift + rng.normal(0, 0.01, 10)
    own, other = (ablation.by_split(m, "test_srocc_quality") for m in ("linear_probe", "residual"))
    p = corrected_t(own - other, 0.4).p
    apart, close = told_apart(ablation, "linear_probe", ["residual"], "quality")
    assert ("residual" in apart) == (p < 0.05)  # two modes: one pair
    assert ("residual" in told_apart(ablation, "linear_probe", MODES[:3], "quality")[0]) == (
        p < 0.05 / 6
    )
    assert not set(apart) & set(close)


def test_a_claim_about_the_model_is_no_claim_about_time() -> None:
    ablation = make(ORDERED)
    ablation.cells["alignment_retention"] = np.random.default_rng(1).uniform(0.90, 0.95, 40)
    kept = Claim(
        "kept", "Alignment is kept", "retention above .8",
        lambda evidence, target: [
            evidence.level("residual", "alignment_retention", null=0.8, above=True)
        ],
        targets=("model",),
    )  # fmt: skip
    (verdict,) = decide([kept], Evidence(ablation, "guide"), ablation.targets)
    entry = claim_entry(verdict)
    assert (entry["target"], entry["verdict"]) == ("model", "supported")
    assert entry["effect"] == pytest.approx(0.925, abs=0.02)
    assert not [key for key in entry if key.startswith("seconds")]


@pytest.mark.parametrize("backbone", ["qa-tiny", "ViT-B-32"])
def test_a_claim_about_published_backbones_is_left_alone_with_the_embedded_one(
    backbone: str,
) -> None:
    ablation = make(ORDERED)
    ablation.params["backbone"] = backbone
    reason = verdicts(ablation)["lr_range_holds_best", "quality"].reason
    assert reason is not None and ("published" in reason) == (backbone == "qa-tiny")


@pytest.mark.parametrize(
    ("name", "bar", "said"),
    [
        ("scene", 0.9, "every mode is shown to rank worse than scene statistics (.900)."),
        (
            "floor",
            0.9,
            "every mode is shown to rank worse than the floor, which sees no pixel (.900).",
        ),
        ("scene", 0.78, "no mode is shown to rank better than scene statistics (.780)."),
        ("scene", 0.74, None),
    ],
)
def test_a_reference_above_all_modes_is_named_in_the_recommendation(
    name: str, bar: float, said: str | None
) -> None:
    ablation = with_reference(make(ORDERED), name, bar)
    modes = mode_entries(ablation, "guide")
    words = recommendation_words(recommend(ablation, modes, reference_entries(ablation)))
    if said is None:
        assert "rank" not in words
    else:
        assert words.endswith(f"On consistency {said}")
    assert recommend(ablation, modes, {})["unbeaten"] == []


@pytest.mark.parametrize(
    ("floor", "said"),
    [
        (0.9, "reach .900: what the modes rank on is less than that."),
        (0.781, "No mode is shown to rank better than generator and prompt alone"),
        (0.6, ""),
    ],
)
def test_the_floor_is_held_against_the_modes_by_intervals(floor: float, said: str) -> None:
    ablation = with_reference(make(ORDERED, noise=0.02), "floor", floor)
    modes, baselines = mode_entries(ablation, "guide"), reference_entries(ablation)
    words = standing_in_words(ablation, modes, baselines, "consistency")
    assert said in words and (bool(said) or "without a look" not in words)


def with_reference(ablation: Ablation, name: str, score: float) -> Ablation:
    """The ablation with one more reference on consistency, the same on every split."""
    rows = ablation.references.assign(reference=name, test_srocc_consistency=score)
    return dataclasses.replace(ablation, references=pd.concat([ablation.references, rows]))


def test_ids_are_unique() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)


def test_timings_do_not_move_intervals_on_accuracy() -> None:
    ablation = make(ORDERED)
    before = verdicts(ablation)
    ablation.cells["seconds_per_epoch"] = np.random.default_rng(5).uniform(1, 9, 40)
    after = verdicts(ablation)
    for key, verdict in before.items():
        if key[1] != "cost":
            assert verdict == after[key]
