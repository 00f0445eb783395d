"""Simulated designs: worlds have the truth that they are given, rates are those of theory."""

import numpy as np
import pytest

from reports.calibration.designs import DESIGNS, simulate
from reports.calibration.rates import rates_of, worst_of
from reports.calibration.worlds import WORLDS
from reports.inference.estimates import Estimate


@pytest.mark.parametrize("world", WORLDS)
def test_a_world_repeats_by_its_seed_and_differs_by_data_set(world: str) -> None:
    first, again = (WORLDS[world](12, np.random.default_rng(3)) for _ in range(2))
    rows = np.arange(30)
    np.testing.assert_array_equal(first.mos, again.mos)
    np.testing.assert_array_equal(first.predict(rows + 30, rows), again.predict(rows + 30, rows))
    assert np.ptp(WORLDS[world](12, np.random.default_rng(4)).mos - first.mos) > 0


@pytest.mark.parametrize("design", ["kfold2", "small"])
def test_contrasts_are_moved_to_a_truth_of_zero(design: str) -> None:
    assert design in DESIGNS
    families = simulate(design, WORLDS["regression"], 3, seed=1)
    means = np.array([[one.mean for one in family] for family in families])
    np.testing.assert_allclose(means.mean(axis=0), 0, atol=1e-12)
    assert all(one.error > 0 for family in families for one in family)


def test_rates_of_a_known_error_are_those_of_theory() -> None:
    """Estimates that are normal with the error they state; one that is far too sure of itself."""
    rng = np.random.default_rng(0)

    def families(stated: float) -> list[list[Estimate]]:
        draws = 0.005 * rng.normal(size=(600, 2))
        return [[Estimate(m, stated, 5000, 10, "paired_t") for m in row] for row in draws]

    honest, sure = (rates_of(families(stated), [1]) for stated in (0.005, 0.002))
    assert honest["fwer"] == pytest.approx(0.05, abs=0.025)
    assert honest["coverage"] == pytest.approx(0.95, abs=0.02)
    assert honest["power"][".02"] == pytest.approx(0.96, abs=0.03)  # 4 errors against 2.24
    assert honest["same_within"][".03"] > 0.95 > 0.05 > honest["same_within"][".01"]
    assert honest["half_width"] == pytest.approx(1.96 * 0.005, rel=1e-3)
    assert sure["fwer"] > 0.5
    worst = worst_of({"a": honest, "b": sure})
    assert worst["fwer"] == sure["fwer"]
    assert worst["coverage"] == sure["coverage"]
    assert worst["n"] == 600
