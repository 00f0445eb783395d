"""Four words from an estimate: the interval agrees, and families err no more often than asked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.inference.decisions import ALPHA, Decision, decide_family, p_same
from reports.inference.estimates import Estimate, from_replicates

MARGIN = 0.02
ESTIMATES = st.lists(
    st.tuples(st.floats(-0.08, 0.08), st.floats(0.0005, 0.05), st.integers(2, 300)),
    min_size=1,
    max_size=6,
)


def estimate(mean: float, error: float, degrees: int = 200) -> Estimate:
    return Estimate(mean, error, degrees, 10, "paired_t")


@pytest.mark.parametrize(
    ("mean", "error", "word", "within"),
    [
        (0.03, 0.005, "better", False),
        (-0.03, 0.005, "worse", False),
        (0.001, 0.005, "same", True),
        (0.01, 0.01, "not decided", False),
        (0.006, 0.002, "better", True),  # a difference, and one of no weight
    ],
)
def test_one_word_for_each_case(mean: float, error: float, word: str, within: bool) -> None:
    (found,) = decide_family([estimate(mean, error)], MARGIN)
    assert (found.word, found.within_margin) == (word, within)


def test_same_is_two_one_sided_t_tests() -> None:
    values = [0.001, 0.004, -0.003, 0.002, 0.0]
    found = from_replicates(values)
    assert found is not None
    assert p_same(found, MARGIN) == max(found.p_above(-MARGIN), found.p_below(MARGIN))
    low, high = found.bounds(0.9)  # the 90 % interval goes with two tests at 5 %
    assert (-MARGIN < low and high < MARGIN) == (p_same(found, MARGIN) < 0.05)


@settings(deadline=None)  # the shared machine may stall
@given(ESTIMATES)
def test_the_interval_shows_what_the_word_says(asked: list[tuple[float, float, int]]) -> None:
    for found in decide_family([estimate(*one) for one in asked], MARGIN):
        if min(abs(found.p_difference - ALPHA), abs(found.p_same - ALPHA)) < 1e-9:
            continue
        without_zero = found.low > 0 or found.high < 0
        inside = -MARGIN < found.low and found.high < MARGIN
        expected = {
            "better": found.low > 0,
            "worse": found.high < 0,
            "same": inside,
            "not decided": not without_zero and not inside,
        }
        assert expected[found.word], found


def test_a_margin_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="margin"):
        decide_family([estimate(0, 0.01)], 0.0)
    assert decide_family([], MARGIN) == []


def wrong(found: list[Decision], truths: np.ndarray) -> tuple[bool, bool]:
    """Whether any `better` or `worse` of a family is wrong, and whether any `same` is."""
    signs = {"better": 1, "worse": -1}
    called = [
        d.word in signs and signs[d.word] * t <= 0 for d, t in zip(found, truths, strict=True)
    ]
    same = [d.within_margin and abs(t) >= MARGIN for d, t in zip(found, truths, strict=True)]
    return any(called), any(same)


@pytest.mark.parametrize(
    "truths", [[0.0] * 6, [MARGIN] * 6, [0, 0, 0, MARGIN, -MARGIN, 0.1], [MARGIN, 0]]
)
def test_a_family_errs_no_more_often_than_asked(truths: list[float]) -> None:
    """Errors where it is hardest: margin two half-widths away, so that either word is near."""
    rng, truth = np.random.default_rng(0), np.array(truths)
    errors = []
    for error in (MARGIN / 5.2, MARGIN / 3.9):
        for _ in range(1000):
            means = truth + error * rng.normal(size=truth.size)
            found = decide_family([estimate(mean, error, 2000) for mean in means], MARGIN)
            errors.append(wrong(found, truth))
    rates = np.mean(errors, axis=0)
    assert (rates < 0.06).all(), rates
    assert rates.max() > 0.015  # the case is hard: it does err
