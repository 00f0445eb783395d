"""Verdicts by the design of the splits, on frames with known answers."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, spearmanr, ttest_rel
from test_claims import MODES, ORDERED, make, verdicts
from test_study_report import depths, sizes

from qa_core.errors import UserError
from qa_core.measures.catalogue import GAP_LAST
from reports.claims import CLAIMS
from reports.evidence.ablation import Ablation
from reports.verdicts.contrasts import Evidence
from reports.verdicts.decide import Claim, decide
from reports.verdicts.decided import _with_margin
from reports.verdicts.measured import measure_mode, measure_pair, measure_study
from reports.verdicts.pairs import decide_pairs
from reports.verdicts.results import comparisons, mode_entries

REPLICATES = {"variance_factor": "0.1", "n_splits": "10", "interval": "paired_t",
              "protocol": "replicates", "validation_factor": "0.1", "n_folds": "0"}  # fmt: skip
FOLDS = {"variance_factor": "0.35", "n_splits": "10", "interval": "nadeau_bengio",
         "protocol": "honest", "validation_factor": "0.214", "n_folds": "5"}  # fmt: skip
PROMPTS, IMAGES = 60, 6


def with_params(ablation: Ablation, **params: str) -> Ablation:
    return dataclasses.replace(ablation, params=ablation.params | params)


def in_folds(noise: Mapping[str, float], n_seeds: int = 1) -> Ablation:
    """Grouped 5-fold x 2 over 60 prompts; a mode's predictions are opinions and its noise.

    The metrics are what the predictions give, as a run would log them.
    """
    rng = np.random.default_rng(3)
    prompt = np.repeat(np.arange(PROMPTS), IMAGES)
    mos = rng.normal(0, 1, PROMPTS)[prompt] + rng.normal(0, 1, len(prompt))
    errors = {mode: rng.normal(0, size, len(prompt)) for mode, size in noise.items()}
    tables, cells = [], []
    for split in range(10):
        fold = np.random.default_rng(split // 5).permutation(PROMPTS) % 5
        rows = np.flatnonzero(fold[prompt] == split % 5)
        for mode in noise:
            for seed in range(n_seeds):
                own = mos[rows] + errors[mode][rows] + rng.normal(0, 0.05, len(rows))
                run = f"{mode}{split}/{seed}"
                tables.append(pd.DataFrame({
                    "run_id": run, "mode": mode, "setting": "guide", "split": split, "seed": seed,
                    "row": rows, "prompt": prompt[rows].astype(str), "mos_quality": mos[rows],
                    "q": own, "in_pool": prompt[rows] < 18,
                }))  # fmt: skip
                cells.append({"run_id": run, "mode": mode, "setting": "guide", "split": split,
                              "seed": seed, "undefined": {},
                              "test_srocc_quality": spearmanr(own, mos[rows])[0]})  # fmt: skip
    whole = make(dict.fromkeys(noise, 0.7))
    return dataclasses.replace(
        with_params(whole, **FOLDS), targets=whole.targets[:1], cells=pd.DataFrame(cells),
        predictions=pd.concat(tables, ignore_index=True),
    )  # fmt: skip


def test_replicates_are_held_to_the_plain_paired_t() -> None:
    ablation = with_params(make(ORDERED, noise=0.02), **REPLICATES)
    found = measure_pair(ablation, "residual", "traditional", "test_srocc_quality", "guide")
    own, other = (
        ablation.by_split(m, "test_srocc_quality").to_numpy() for m in ("residual", "traditional")
    )
    expected = ttest_rel(own, other)
    interval = found.interval
    assert interval.kind == "paired_t"
    assert interval.p == pytest.approx(expected.pvalue)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    entry = mode_entries(ablation, "guide")["residual"]["srocc_quality"]
    assert (entry["interval"], entry["n"]) == ("paired_t", 10)


def test_folds_take_their_error_from_the_prompts() -> None:
    ablation = in_folds({"traditional": 1.0, "residual": 0.7})
    found = measure_pair(ablation, "residual", "traditional", "test_srocc_quality", "guide")
    by_cells = ablation.by_split("residual", "test_srocc_quality") - ablation.by_split(
        "traditional", "test_srocc_quality"
    )
    np.testing.assert_allclose(found.array, by_cells.to_numpy(float))
    estimate = found.estimate
    assert estimate is not None
    assert (estimate.kind, estimate.degrees, estimate.n) == ("prompt_influence", PROMPTS - 1, 10)
    # Independently: the prompts drawn anew, each with all of its images, in every fold
    assert estimate.error == pytest.approx(_bootstrap_error(ablation), rel=0.25)


def _bootstrap_error(ablation: Ablation) -> float:
    table = ablation.predictions
    sides = [table[table["mode"] == mode] for mode in ("residual", "traditional")]
    parts = [
        (
            np.asarray(own["prompt"], dtype=int),
            np.asarray(own["mos_quality"]),
            *(np.asarray(side[side["split"] == split]["q"]) for side in sides),
        )
        for split, own in sides[0].groupby("split")
    ]
    rng, draws = np.random.default_rng(0), []
    for _ in range(100):
        weights = np.bincount(rng.integers(0, PROMPTS, PROMPTS), minlength=PROMPTS)
        lifts = []
        for prompt, mos, own, other in parts:
            rows = np.repeat(np.arange(len(prompt)), weights[prompt])
            lifts.append(_srocc(own[rows], mos[rows]) - _srocc(other[rows], mos[rows]))
        draws.append(np.mean(lifts))
    return float(np.std(draws))


def _srocc(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def test_seeds_are_averaged_before_modes_are_compared() -> None:
    ablation = in_folds({"traditional": 1.0, "residual": 0.7}, n_seeds=3)
    found = measure_mode(ablation, "residual", "test_srocc_quality", "guide")
    expected = ablation.by_split("residual", "test_srocc_quality").to_numpy(float)
    np.testing.assert_allclose(found.array, expected)
    assert found.interval.kind == "prompt_influence"


def test_a_tuned_setting_is_tested_outside_the_pool_also_where_tuning_kept_the_guides() -> None:
    ablation = in_folds({"traditional": 1.0, "residual": 0.7})
    found = measure_pair(ablation, "residual", "traditional", "test_srocc_quality", "tuned")
    assert found.estimate is not None and found.estimate.degrees == PROMPTS - 18 - 1
    table = ablation.predictions
    own = table[(table["mode"] == "residual") & (table["split"] == 0) & ~table["in_pool"]]
    alone = measure_mode(ablation, "residual", "test_srocc_quality", "tuned")
    assert alone.array[0] == pytest.approx(spearmanr(own["q"], own["mos_quality"])[0])


@pytest.mark.parametrize("older", [{"n_folds": "0"}, {"protocol": "grouped_kfold"}])
def test_small_tables_and_older_stores_stay_with_nadeau_and_bengio(older: dict[str, str]) -> None:
    ablation = with_params(in_folds({"traditional": 1.0, "residual": 0.7}), **older)
    found = measure_pair(ablation, "residual", "traditional", "test_srocc_quality", "guide")
    assert found.estimate is not None
    assert (found.estimate.kind, found.estimate.degrees) == ("nadeau_bengio", 9)
    assert found.estimate.error == pytest.approx(math.sqrt(0.35) * np.std(found.array, ddof=1))


def test_measures_on_validation_have_the_validation_parts_factor() -> None:
    ablation = with_params(make(ORDERED), **FOLDS)
    gap = measure_mode(ablation, "residual", GAP_LAST.logged("quality"), "guide")
    assert gap.estimate is not None
    assert gap.estimate.error == pytest.approx(math.sqrt(0.214) * np.std(gap.array, ddof=1))
    decided = verdicts(ablation)["gap_under_limit", "quality"]
    assert decided.verdict == "supported"


def test_equal_modes_are_the_same_and_a_wide_spread_is_not_decided() -> None:
    equal = with_params(make(dict.fromkeys(MODES, 0.7), noise=0.005), **REPLICATES)
    lift = verdicts(equal)["residual_lifts_srocc", "quality"]
    assert (lift.verdict, lift.kind) == ("the same within ± .02", "same")
    assert lift.low is not None and lift.high is not None and -0.02 < lift.low < lift.high < 0.02
    narrow = verdicts(with_params(equal, margin="0.001"))["residual_lifts_srocc", "quality"]
    assert narrow.verdict == "not decided"


def test_the_margin_of_the_run_decides_the_studies_claims() -> None:
    for margin, word in (("0.02", "supported"), ("0.001", "not decided")):
        ablation = with_params(make(ORDERED), image_depth="12", margin=margin)
        ablation = dataclasses.replace(ablation, studies={"data_size": sizes()})
        found = verdicts(ablation)["probe_enough_small_data", "quality"]
        assert (found.verdict, found.null) == (word, -float(margin))


def test_every_pair_and_the_control_have_a_verdict() -> None:
    ablation = with_params(make({**ORDERED, "matched_direct": 0.731}), **REPLICATES)
    rows = comparisons(ablation, "guide")
    assert len(rows) == 2 * math.comb(5, 2)
    by_pair = {(row["target"], row["first"], row["second"]): row for row in rows}
    lift = by_pair["quality", "traditional", "residual"]
    assert (lift["verdict"], lift["family"]) == ("worse", "primary")
    assert lift["difference"]["interval"] == "paired_t" and lift["high_holm"] < 0
    bound = by_pair["quality", "residual", "matched_direct"]
    assert (bound["verdict"], bound["family"]) == ("same", "secondary")
    assert sum(row["family"] == "primary" for row in rows) == 8
    assert {row["verdict"] for row in rows} <= {"better", "worse", "same", "not decided"}


def test_the_claims_of_the_primary_family_say_what_its_pairs_say() -> None:
    ablation = with_params(make(ORDERED, noise=0.02), **REPLICATES)
    lift = verdicts(ablation)["residual_lifts_srocc", "quality"]
    pair = next(p for p in decide_pairs(ablation, "guide") if p.second == "residual")
    assert pair.decision is not None
    assert lift.low == pytest.approx(-pair.decision.high)
    assert lift.p == pytest.approx(pair.decision.p_difference)


def test_a_study_or_a_claim_of_ones_own_moves_no_interval_of_another_family() -> None:
    alone = with_params(make(ORDERED, noise=0.01), image_depth="12", **REPLICATES)
    more = dataclasses.replace(alone, studies={"data_size": sizes(), "depth": depths(9, 4)})
    before, after = verdicts(alone), verdicts(more)
    assert before["freeze_band_best", "quality"].verdict == "not tested"
    assert after["freeze_band_best", "quality"].verdict == "supported"
    kept = [key for key, one in before.items() if one.claim.family in ("primary", "secondary")]
    assert {k: before[k] for k in kept} == {k: after[k] for k in kept}
    mine = Claim("mine", "?", "?", lambda e, t: [e.level("residual", f"test_srocc_{t}", 0.5, True)])
    assert mine.family == "own"
    beside = decide([*CLAIMS, mine], Evidence(more, "guide"), more.targets)
    assert [v for v in beside if v.claim.id != "mine"] == list(after.values())


def test_a_study_of_replicates_is_held_to_the_plain_t() -> None:
    one = depths(9, 4)
    plain = dataclasses.replace(one, design=dataclasses.replace(one.design, independent=True))
    found, wider = (
        measure_study(study, "test_srocc_quality", freeze_layers=9).interval
        for study in (plain, one)
    )
    assert (found.kind, wider.kind) == ("paired_t", "nadeau_bengio")
    assert found.low is not None and wider.low is not None and wider.low < found.low


def test_a_margin_that_was_fixed_is_not_changed_afterwards() -> None:
    ablation = make(ORDERED)
    assert _with_margin(ablation, None).margin == 0.02
    assert _with_margin(ablation, 0.03).margin == 0.03  # an earlier version noted none
    fixed = with_params(ablation, margin="0.02")
    assert _with_margin(fixed, 0.02).margin == 0.02
    with pytest.raises(UserError, match=r"was run with MARGIN=0\.02"):
        _with_margin(fixed, 0.03)
