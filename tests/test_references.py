"""Reference predictions against independent definitions and published figures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qa_core.data.splits import plan_splits
from qa_core.data.tables.agiqa3k import read_agiqa3k
from qa_core.measures.metrics import srocc
from qa_core.measures.references import (
    ANTONYM_PROMPTS,
    KERNEL_FACTORS,
    KERNEL_PENALTIES,
    STRENGTHS,
    antonym_quality,
    consistency_features,
    kernel_ridge_predictions,
    pixel_free_floor,
    quality_features,
    raters_ceiling,
    ridge_predictions,
    true_ceiling,
)

AGIQA3K = Path(__file__).parents[2] / "shared" / "data" / "agiqa3k"


def normal_equations(train, mos, test, strength):
    """Ridge by another road: standardise, add the penalty to the Gram matrix, solve."""
    centre, spread = train.mean(axis=0), train.std(axis=0)
    x, z = (train - centre) / spread, (test - centre) / spread
    gram = x.T @ x + strength * np.eye(x.shape[1])
    return z @ np.linalg.solve(gram, x.T @ (mos - mos.mean())) + mos.mean()


def ridge_data(noise: float, width: int = 20, seed: int = 0):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(width)
    features = [3 + 5 * rng.standard_normal((n, width)) for n in (40, 30, 50)]
    mos = [x @ weights / 20 + noise * rng.standard_normal(len(x)) for x in features]
    return features, mos


@pytest.mark.parametrize("noise", [0.01, 1.0, 20.0])
def test_ridge_is_the_penalised_least_squares_best_on_validation(noise):
    (train, val, test), (mos_train, mos_val, _) = ridge_data(noise)
    predicted, strength = ridge_predictions(train, mos_train, val, mos_val, test)
    np.testing.assert_allclose(
        predicted, normal_equations(train, mos_train, test, strength), rtol=1e-8
    )
    on_validation = {
        other: srocc(normal_equations(train, mos_train, val, other), mos_val) or -1
        for other in STRENGTHS
    }
    best = max(on_validation.values())
    assert strength == max(s for s, value in on_validation.items() if value == best)


def test_ridge_ignores_constant_features():
    (train, val, test), (mos_train, mos_val, _) = ridge_data(0.1, width=8)
    plain, _ = ridge_predictions(train, mos_train, val, mos_val, test)
    padded = [np.column_stack([x, np.full(len(x), 7.0)]) for x in (train, val, test)]
    same, _ = ridge_predictions(padded[0], mos_train, padded[1], mos_val, padded[2])
    np.testing.assert_allclose(same, plain)


def test_ridge_with_more_features_than_rows():
    (train, val, test), (mos_train, mos_val, mos_test) = ridge_data(0.1, width=100)
    predicted, _ = ridge_predictions(train, mos_train, val, mos_val, test)
    assert np.isfinite(predicted).all()
    value = srocc(predicted, mos_test)
    assert value is not None and value > 0.3


def test_ridge_takes_the_largest_of_equally_good_penalties():
    x = np.arange(10.0)[:, None]  # one feature: every penalty ranks the same
    _, strength = ridge_predictions(x, x[:, 0], x, x[:, 0], x)
    assert strength == STRENGTHS.max()


def test_ridge_without_a_ranking_on_validation_takes_the_smallest_error():
    (train, val, test), (mos_train, _, _) = ridge_data(1.0)
    flat = np.full(len(val), mos_train.mean())
    _, strength = ridge_predictions(train, mos_train, val, flat, test)
    assert strength == STRENGTHS.max()  # the nearest to a constant


def kernel_solution(train, mos, test, factor, penalty):
    """Kernel ridge by its equations: solve the penalised Gram matrix, weigh the kernels."""
    centre, spread = train.mean(axis=0), train.std(axis=0)
    x, z = (np.clip((part - centre) / spread, -5, 5) for part in (train, test))

    def kernel(a, b):
        distance = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
        return np.exp(-factor / x.shape[1] * distance)

    dual = np.linalg.solve(kernel(x, x) + penalty * np.eye(len(x)), mos - mos.mean())
    return kernel(z, x) @ dual + mos.mean()


@pytest.mark.parametrize("noise", [0.01, 1.0])
def test_kernel_ridge_is_the_solution_best_on_validation(noise):
    (train, val, test), (mos_train, mos_val, _) = ridge_data(noise)
    settings = [(f, p) for f in KERNEL_FACTORS for p in KERNEL_PENALTIES]
    best = max(
        settings, key=lambda s: srocc(kernel_solution(train, mos_train, val, *s), mos_val) or -1
    )
    np.testing.assert_allclose(
        kernel_ridge_predictions(train, mos_train, val, mos_val, test),
        kernel_solution(train, mos_train, test, *best),
        rtol=1e-8,
    )


def test_kernel_ridge_of_many_rows_uses_some_and_always_the_same(monkeypatch):
    monkeypatch.setattr("qa_core.measures.references.MOST_KERNEL_ROWS", 30)
    (train, val, test), (mos_train, mos_val, _) = ridge_data(0.1)
    first = kernel_ridge_predictions(train, mos_train, val, mos_val, test)
    rows = np.random.default_rng(0).choice(40, 30, replace=False)
    some = kernel_ridge_predictions(train[rows], mos_train[rows], val, mos_val, test)
    np.testing.assert_array_equal(first, some)


def test_features_of_the_ridge():
    img, txt = np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]])
    np.testing.assert_array_equal(quality_features(img), img)
    np.testing.assert_array_equal(consistency_features(img, txt, [0.5]), [[3.0, -2.0, 0.5]])


def floor_frame() -> pd.DataFrame:
    """A balanced table whose scores are sums of a generator's and a prompt's effect."""
    maker = {("g", "slow"): 0.1, ("g", "fast"): -0.2, ("h", "slow"): 0.1}
    prompt = {"p1": 0.05, "p2": 0.1, "p3": -0.15}
    rows = [
        {"generator": g, "setting": s, "group": p, "mos_quality": 0.5 + a + b}
        for (g, s), a in maker.items()
        for p, b in prompt.items()
    ]
    return pd.DataFrame(rows)


def test_floor_adds_generator_with_setting_and_prompt():
    frame = floor_frame()
    everything = np.arange(len(frame))
    floor = pixel_free_floor(frame, everything, everything, "quality")
    np.testing.assert_allclose(floor, frame["mos_quality"])
    merged = pixel_free_floor(frame.drop(columns="setting"), everything, everything, "quality")
    g_mean, p1 = frame["mos_quality"][:6].mean(), 0.05
    assert merged[0] == merged[3] == pytest.approx(g_mean + p1)


def test_floor_of_the_unseen_is_the_mean():
    frame = floor_frame()
    frame = pd.concat([frame, frame.iloc[[0]], frame.iloc[[0]], frame.iloc[[0]]], ignore_index=True)
    frame.loc[9, "group"] = "new prompt"
    frame.loc[10, "generator"] = "new generator"
    frame.loc[11, ["group", "generator"]] = "new"
    floor = pixel_free_floor(frame, np.arange(9), np.array([9, 10, 11]), "quality")
    np.testing.assert_allclose(floor, [0.5 + 0.1, 0.5 + 0.05, 0.5])


def test_floor_never_reads_test_scores():
    frame = floor_frame()
    train, test = np.arange(5), np.arange(5, 9)
    floor = pixel_free_floor(frame, train, test, "quality")
    frame.loc[test, "mos_quality"] = np.nan
    np.testing.assert_array_equal(pixel_free_floor(frame, train, test, "quality"), floor)
    assert np.isfinite(floor).all()


def test_floor_without_generators_is_the_prompts_mean():
    frame = pd.DataFrame({"group": list("aabb"), "mos_consistency": [0.1, 0.3, 0.6, 0.8]})
    floor = pixel_free_floor(frame, np.array([0, 1, 2]), np.arange(4), "consistency")
    np.testing.assert_allclose(floor, [0.2, 0.2, 0.6, 0.6])


@pytest.mark.skipif(not AGIQA3K.is_dir(), reason="../shared/data/agiqa3k is absent")
@pytest.mark.parametrize(
    ("target", "disjoint", "random"),
    [("quality", 0.722, 0.765), ("consistency", 0.603, 0.741)],
)
def test_floor_of_agiqa3k_is_the_known_one(target, disjoint, random):
    frame = read_agiqa3k(AGIQA3K, require_images=False).frame
    mos = frame[f"mos_{target}"].to_numpy()

    def mean_srocc(parts):
        values = [
            srocc(pixel_free_floor(frame, train, test, target), mos[test]) for train, test in parts
        ]
        return np.mean(np.array(values, dtype=float))

    splits = plan_splits(frame["group"].to_numpy(), seed=0, n_splits=10).splits
    by_prompt = [(np.concatenate([split.train, split.validation]), split.test) for split in splits]
    orders = [np.random.default_rng(seed).permutation(len(frame)) for seed in range(10)]
    by_image = [(order[596:], order[:596]) for order in orders]
    assert mean_srocc(by_prompt) == pytest.approx(disjoint, abs=0.015)  # SD over splits: .016
    assert mean_srocc(by_image) == pytest.approx(random, abs=0.015)


@pytest.mark.parametrize("n_raters", [8, 32])
def test_raters_ceiling_finds_the_true_one_without_the_truth(n_raters):
    rng = np.random.default_rng(0)
    true = rng.normal(0.5, 0.1, 3000)
    ratings = true[:, None] + 0.2 * rng.standard_normal((3000, n_raters))
    mos, std = ratings.mean(axis=1), ratings.std(axis=1, ddof=1)
    ceiling, known = raters_ceiling(mos, std, n_raters, seed=1), true_ceiling(true, mos)
    assert ceiling is not None and known is not None
    assert ceiling == pytest.approx(known, abs=0.015)
    assert known < 0.95  # there is noise to be found
    assert ceiling == raters_ceiling(mos, std, np.full(3000, n_raters), seed=1)


def test_raters_ceiling_skips_rows_of_unknown_noise():
    rng = np.random.default_rng(1)
    mos = rng.random(60)
    std, n = np.full(60, 0.3), np.full(60, 5.0)
    expected = raters_ceiling(mos[:50], std[:50], n[:50])
    std[50:55], n[55:] = np.nan, np.nan
    assert raters_ceiling(mos, std, n) == expected
    assert raters_ceiling(mos, np.full(60, np.nan), n) is None
    assert raters_ceiling(mos, np.full(60, 5.0), n) is None  # more noise than spread


def test_antonym_quality_is_the_mean_softmax():
    rng = np.random.default_rng(2)

    def unit(n):
        vectors = rng.standard_normal((n, 6))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    img, positive, negative = unit(7), unit(3), unit(3)
    expected = np.zeros(7)
    for good, bad in zip(positive, negative, strict=True):
        logits = np.exp(20 * np.stack([img @ good, img @ bad]))
        expected += logits[0] / logits.sum(axis=0) / 3
    np.testing.assert_allclose(antonym_quality(img, positive, negative, 20.0), expected)


def test_antonym_quality_does_not_overflow():
    img = np.array([[1.0, 0.0], [-1.0, 0.0]])
    scores = antonym_quality(img, np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0]]), 1e4)
    np.testing.assert_array_equal(scores, [1.0, 0.0])


def test_antonym_prompts_are_distinct_pairs():
    prompts = [prompt for pair in ANTONYM_PROMPTS for prompt in pair]
    assert len(set(prompts)) == len(prompts) == 2 * len(ANTONYM_PROMPTS)
