"""What a pilot of a linear probe foresees: errors carried over prompt by prompt."""

from pathlib import Path

import numpy as np
import pytest
from conftest import write_table

from experiments.pilot import _planned_error, _power, foresee_power, power_params
from qa_core.config import run_config_from_flat
from qa_core.data.splits import plan_splits
from qa_core.targets import TARGETS
from reports.inference.power import power_of_difference, power_of_same
from studies.context import Setup, open_workspace

PLAN = plan_splits(np.repeat([f"prompt {k}" for k in range(200)], 2), "honest", 0, 10)


def test_an_error_falls_with_the_prompts_that_the_splits_test() -> None:
    assert _planned_error(0.04, 50, PLAN) == pytest.approx(0.04 / 2)
    few = plan_splits(np.repeat([f"prompt {k}" for k in range(60)], 2), "grouped_kfold")
    spread = 0.04 * np.sqrt(50 / 12)  # of a part of 12 prompts
    assert _planned_error(0.04, 50, few) == pytest.approx(spread * np.sqrt(1 / 20 + 1 / 4))


def test_what_is_foreseen_has_the_power_that_it_promises() -> None:
    found = _power(0.006, PLAN, margin=0.02, level=0.05 / 8)
    for place, error in enumerate((0.006 / 4, 0.006)):  # of a difference of two modes
        difference, margin = found.difference[place], found.margin[place]
        assert power_of_difference(difference, error, 199, 0.05 / 8) == pytest.approx(0.8)
        assert power_of_same(margin, error, 199, 0.05 / 8) == pytest.approx(0.8)
        assert found.prompts[place] == pytest.approx(200 * (margin / 0.02) ** 2, abs=1)


def test_a_table_is_foreseen_by_real_probes_and_one_split_is_not(
    narrow_models: None, tmp_path: Path
) -> None:
    table = write_table(tmp_path, 20, 4)
    flags = {"data_csv_path": str(table), "backbone": "narrow-3", "pretrained": "none"}
    flags |= {"epochs": 2, "threads": 1}
    setup = Setup(run_config_from_flat(flags), tmp_path / "cache", "honest", 0, 5, None)
    workspace, plan = open_workspace(setup)
    found = foresee_power(setup.base, workspace, plan, 0.02)
    assert found and set(found) <= set(TARGETS)
    for power in found.values():
        assert 0 < power.difference[0] < power.difference[1] and 0 < power.margin[0]
    params = power_params(setup.base, workspace, plan, 0.02)
    assert len(params) == 2 * len(found)
    assert all(len(text.split()) == 2 for text in params.values())
    assert foresee_power(setup.base, workspace, plan.first(1), 0.02) == {}
