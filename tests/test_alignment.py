"""Alignment retention, shuffled pairs and recall against definitions written out."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_core.measures.alignment import (
    alignment_retention,
    image_to_text_r_at_1,
    retention_r_at_1,
    shuffled_pairs,
)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.asarray(scipy.stats.spearmanr(a, b))[0])


def test_retention_is_the_mean_of_two_rank_correlations():
    rng = np.random.default_rng(0)
    before = rng.random((2, 50))
    after = before + rng.standard_normal((2, 50)) * [[0.1], [0.8]]
    found = alignment_retention(after[0], before[0], after[1], before[1])
    matched, shuffled = (spearman(a, b) for a, b in zip(after, before, strict=True))
    assert found.matched == pytest.approx(matched)
    assert found.shuffled == pytest.approx(shuffled)
    assert found.mean == pytest.approx((matched + shuffled) / 2)
    assert found.reason is None


def test_retention_is_not_inflated_by_the_gap_between_matched_and_shuffled():
    rng = np.random.default_rng(1)
    matched, shuffled = 0.8 + 0.01 * rng.random((2, 200)), 0.1 + 0.01 * rng.random((2, 200))
    found = alignment_retention(matched[0], matched[1], shuffled[0], shuffled[1])
    pooled = spearman(*np.concatenate([matched, shuffled], axis=1))
    assert pooled > 0.7
    assert found.mean is not None and abs(found.mean) < 0.2


def test_retention_of_any_rising_change_is_one():
    before = np.random.default_rng(2).random((2, 30))
    found = alignment_retention(np.exp(before[0]), before[0], 5 * before[1] - 3, before[1])
    assert (found.mean, found.matched, found.shuffled) == pytest.approx((1, 1, 1))


def test_collapsed_cosines_leave_a_reason():
    before = np.arange(5.0)
    found = alignment_retention(before, before, np.ones(5), before)
    assert (found.mean, found.shuffled) == (None, None)
    assert found.matched == pytest.approx(1)
    assert found.reason == "shuffled pairs: constant predictions"


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=60), st.integers(0, 99))
def test_no_image_keeps_its_own_prompt(groups, seed):
    if 2 * max(map(groups.count, groups)) > len(groups):
        with pytest.raises(ValueError, match="share one prompt"):
            shuffled_pairs(groups, seed)
        return
    texts = shuffled_pairs(groups, seed)
    assert sorted(texts) == list(range(len(groups)))
    assert all(groups[image] != groups[text] for image, text in enumerate(texts))
    np.testing.assert_array_equal(texts, shuffled_pairs(groups, seed))


def test_shuffled_pairs_move_with_the_seed_and_reach_everywhere():
    groups = [f"prompt {row % 10}" for row in range(50)]
    draws = [shuffled_pairs(groups, seed) for seed in range(40)]
    assert len({draw.tobytes() for draw in draws}) == 40
    partners_of_first = {groups[draw[0]] for draw in draws}
    assert len(partners_of_first) >= 7


def test_recall_counts_any_text_of_the_same_prompt():
    txt = np.eye(3)[[0, 1, 0, 2]]
    groups = ["a", "b", "a", "c"]
    img = np.array([[0.9, 0.1, 0], [0, 0.2, 0.8], [0.7, 0.3, 0], [0, 0, 1.0]])
    assert image_to_text_r_at_1(img, txt, groups) == 0.75  # image 1 is nearest to c
    assert image_to_text_r_at_1(txt, txt, groups) == 1
    assert image_to_text_r_at_1(-txt, txt, groups) == 0


def test_recall_by_hand_on_random_embeddings():
    rng = np.random.default_rng(4)
    groups = rng.integers(0, 5, 30)
    img, texts = rng.standard_normal((30, 4)), rng.standard_normal((5, 4))
    nearest = [max(range(5), key=lambda k: float(texts[k] @ x)) for x in img]
    right = [near == own for near, own in zip(nearest, groups, strict=True)]
    assert 0 < sum(right) < 30
    assert image_to_text_r_at_1(img, texts[groups], groups) == pytest.approx(np.mean(right))


def test_recall_is_retained_only_where_there_was_some():
    assert retention_r_at_1(0.3, 0.6, n_prompts=100) == (pytest.approx(0.5), None)
    assert retention_r_at_1(0.06, 0.03, n_prompts=100) == (pytest.approx(2.0), None)
    value, reason = retention_r_at_1(0.5, 0.0299, n_prompts=100)
    assert value is None
    assert reason is not None and "three times chance (0.030, 100 prompts)" in reason
