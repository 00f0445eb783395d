"""Metrics against SciPy and against definitions written out."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_core.measures import metrics
from qa_core.measures.catalogue import MEASURES
from qa_core.measures.evaluation import score_epoch, score_predictions

PAIRS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=3, max_size=25).filter(
    lambda pairs: all(len(set(side)) > 1 for side in zip(*pairs, strict=True))
)
"""Small integers, so that ties are common; neither side constant."""


def noisy_pair(n: int = 80, noise: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.random(n)
    return x, x + noise * rng.standard_normal(n)


@settings(deadline=None)
@given(PAIRS)
def test_correlations_are_scipys(pairs):
    x, y = np.array(pairs, dtype=float).T / 8
    assert metrics.srocc(x, y) == pytest.approx(scipy.stats.spearmanr(x, y)[0], abs=1e-12)
    assert metrics.plcc(x, y) == pytest.approx(scipy.stats.pearsonr(x, y)[0], abs=1e-12)


@settings(deadline=None)
@given(PAIRS)
def test_krocc_counts_pairs(pairs):
    concordance = ties_x = ties_y = 0
    for (x1, y1), (x2, y2) in itertools.combinations(pairs, 2):
        concordance += int(np.sign(x1 - x2) * np.sign(y1 - y2))
        ties_x += x1 == x2
        ties_y += y1 == y2
    n_pairs = math.comb(len(pairs), 2)
    tau = concordance / math.sqrt((n_pairs - ties_x) * (n_pairs - ties_y))
    assert metrics.krocc(*zip(*pairs, strict=True)) == pytest.approx(tau)


def test_rmse_of_known_errors():
    assert metrics.rmse([0.0, 1.0, 2.0], [3.0, 1.0, -2.0]) == pytest.approx(math.sqrt(25 / 3))
    assert metrics.rmse([], []) is None
    assert metrics.rmse([np.nan, 1.0], [0.0, 1.0]) is None


@pytest.mark.parametrize(
    ("prediction", "mos", "reason"),
    [
        ([0.1, 0.2], [0.3, 0.4], "fewer than 3 rows"),
        ([0.1] * 7, np.arange(7), "constant predictions"),
        (np.arange(7), [0.1] * 7, "constant scores"),
        ([0.1, np.nan, 0.3], [1, 2, 3], "values that are not finite"),
        ([0.1, 0.2, 0.3], [1, 2, np.inf], "values that are not finite"),
    ],
)
def test_undefined_is_none_with_a_reason(prediction, mos, reason):
    assert metrics.undefined_reason(prediction, mos) == reason
    for function in (metrics.srocc, metrics.plcc, metrics.krocc):
        assert function(prediction, mos) is None
    assert metrics.plcc_fitted(prediction, mos) == (None, reason)


def test_lengths_must_match():
    with pytest.raises(ValueError, match="3 predictions do not pair with 4 scores"):
        metrics.srocc([1, 2, 3], [1, 2, 3, 4])


@pytest.mark.parametrize("factor", [1e-160, 1e160])
def test_plcc_survives_extreme_units(factor):
    x, y = noisy_pair()
    assert metrics.plcc(x * factor, y) == pytest.approx(metrics.plcc(x, y))


def test_fit_recovers_a_logistic():
    x = np.linspace(0, 1, 60)
    y = 2 + 3 / (1 + np.exp(-(x - 0.4) / 0.03))
    raw = metrics.plcc(x, y)
    assert raw is not None and raw < 0.9
    assert metrics.plcc_fitted(x, y) == (pytest.approx(1.0, abs=1e-6), None)
    falling, _ = metrics.plcc_fitted(-x, y)
    assert falling == pytest.approx(-1.0, abs=1e-6)


def test_fit_is_as_good_as_scipys_curve_fit():
    rng = np.random.default_rng(3)
    x = rng.random(150)
    y = np.tanh(6 * (x - 0.3)) + 0.2 * rng.standard_normal(150)

    def logistic(x, b1, b2, b3, b4):
        return (b1 - b2) / (1 + np.exp(-(x - b3) / b4)) + b2

    found, _ = scipy.optimize.curve_fit(logistic, x, y, p0=[1, -1, 0.3, 0.1])
    expected = scipy.stats.pearsonr(logistic(x, *found), y)[0]
    assert metrics.plcc_fitted(x, y)[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("middle", [0.1, 0.5, 0.9])
def test_fit_finds_a_steep_step_wherever_it_is(middle):
    rng = np.random.default_rng(0)
    x = rng.random(100)
    y = np.tanh(40 * (x - middle)) + 0.02 * rng.standard_normal(100)
    fitted, _ = metrics.plcc_fitted(x, y)
    assert fitted is not None and fitted > 0.995


@settings(deadline=None)
@given(PAIRS)
def test_fit_never_loses_to_the_straight_line(pairs):
    x, y = np.array(pairs, dtype=float).T
    raw, (fitted, _) = metrics.plcc(x, y), metrics.plcc_fitted(x, y)
    assert raw is not None and fitted is not None
    assert abs(raw) - 1e-9 <= abs(fitted) <= 1


def test_fit_falls_back_to_the_line_with_a_remark():
    fitted, remark = metrics.plcc_fitted([1, 2, 3], [1, 2, 2.5])  # 3 points cannot fix 4 numbers
    assert fitted == metrics.plcc([1, 2, 3], [1, 2, 2.5])
    assert remark is not None and "raw PLCC" in remark


def test_within_group_is_the_size_weighted_mean():
    x = np.array([1, 2, 3, 4, 1, 2, 3, 5, 6, 7, 7, 7])
    y = np.array([1, 2, 3, 4, 3, 2, 1, 5, 6, 1, 2, 3])
    groups = ["up"] * 4 + ["down"] * 3 + ["pair"] * 2 + ["flat"] * 3
    assert metrics.within_group_srocc(x, y, groups) == pytest.approx((4 * 1 + 3 * -1) / 7)
    assert metrics.within_group_srocc(x[7:], y[7:], groups[7:]) is None


def test_shares_of_corrections_and_clamps():
    delta = np.array([0.951, -0.96, 0.95, 0.2, -0.24, 0.26])
    assert metrics.delta_saturation(delta) == pytest.approx(2 / 6)
    assert metrics.small_correction_share(delta, 0.2) == pytest.approx(2 / 6)
    assert metrics.small_correction_share([0.2, -0.24, 0.26], 0.1) == pytest.approx(2 / 3)
    assert metrics.small_correction_share([0.2, -0.24], 0.3) == 0
    assert metrics.clamped_share([0.0, 1.0, 1e-9, 0.5]) == 0.5
    assert metrics.delta_saturation([]) is None


def test_small_share_takes_a_scale_a_row():
    assert metrics.small_correction_share([0.2, 0.2], [0.1, 0.9]) == 0.5


def predictions(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    base, delta = rng.random(n), np.tanh(2 * rng.standard_normal(n))
    return pd.DataFrame(
        {
            "name": [f"{row}.png" for row in range(n)],
            "generator": rng.choice(["a", "b"], n),
            "mos_quality": rng.random(n),
            "mos_consistency": rng.random(n),
            "q": np.clip(base + 0.2 * delta, 0, 1),
            "q_base": base,
            "q_delta": delta,
            "residual_scale_q": 0.2,
            "c": rng.random(n),
            "cos": rng.random(n),
        }
    )


def test_score_predictions_names_every_measure_or_its_reason():
    scores, reasons = score_predictions(predictions())
    measures = {measure.name for measure in MEASURES if measure.compute is not None}
    assert measures >= {"srocc", "rmse", "within_generator_srocc", "base_srocc", "clamped"}
    assert set(scores) | set(reasons) == {
        f"{measure}_{target}" for measure in measures for target in ("quality", "consistency")
    }
    assert set(reasons) == {
        *("base_srocc_consistency", "delta_saturation_consistency", "delta_small_consistency")
    }


def test_scores_are_those_of_the_right_columns():
    frame = predictions()
    scores, _ = score_predictions(frame)
    q, mos, base = frame["q"], frame["mos_quality"], frame["q_base"]
    assert scores["srocc_quality"] == pytest.approx(scipy.stats.spearmanr(q, mos)[0])
    assert scores["base_srocc_quality"] == pytest.approx(scipy.stats.spearmanr(base, mos)[0])
    assert scores["rmse_quality"] == pytest.approx(float(np.sqrt(((q - mos) ** 2).mean())))
    assert scores["clamped_quality"] == ((q == 0) | (q == 1)).mean() > 0
    assert scores["delta_saturation_quality"] == (frame["q_delta"].abs() > 0.95).mean() > 0
    expected = scipy.stats.spearmanr(frame["c"], frame["mos_consistency"])[0]
    assert scores["srocc_consistency"] == pytest.approx(expected)


def test_epoch_scores_agree_with_the_full_ones():
    frame = predictions()
    full, _ = score_predictions(frame)
    epoch, reasons = score_epoch({str(name): frame[name].to_numpy() for name in frame})
    assert epoch.items() <= full.items()
    assert set(epoch) >= {"srocc_quality", "plcc_consistency", "delta_small_quality"}
    assert "delta_saturation_consistency" in reasons


def test_a_target_without_scores_is_left_out():
    frame = predictions().drop(columns="mos_consistency")
    scores, reasons = score_predictions(frame)
    assert not any("consistency" in name for name in (*scores, *reasons))


def test_a_column_of_nan_is_an_absent_column():
    scores, reasons = score_predictions(predictions().assign(q_delta=np.nan))
    assert "delta_saturation_quality" in reasons
    assert "delta_saturation_quality" not in scores


def test_constant_predictions_give_reasons_not_numbers():
    scores, reasons = score_predictions(predictions().assign(c=0.5))
    assert reasons["srocc_consistency"] == "constant predictions"
    assert reasons["plcc_fitted_consistency"] == "constant predictions"
    assert "within_generator_srocc_consistency" in reasons
    assert all(math.isfinite(value) for value in scores.values())


def test_fitted_plcc_has_the_same_digits_whatever_else_is_in_memory():
    rng = np.random.default_rng(0)
    kept: list[object] = []
    for _ in range(20):
        x, y = rng.random(6) * 0.01 + 0.5, rng.random(6)
        found = set()
        for _ in range(20):
            kept += [np.empty(rng.integers(1, 60)), bytearray(int(rng.integers(1, 700)))]
            found.add(metrics.plcc_fitted(x.copy(), y.copy()))
        assert len(found) == 1
