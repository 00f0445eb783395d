"""Advice after a run: only what the run's own configuration leaves to change."""

import numpy as np
import pandas as pd
import pytest

from qa_core.config import RunConfig, run_config_from_flat
from qa_core.measures.advice import advise
from qa_core.measures.references import floor_scores
from qa_core.targets import Target

PROBE = run_config_from_flat({"freeze_clip": True})
DIRECT = run_config_from_flat({"residual_learning": False})
WIDE_GAP = {"train_val_gap_quality": 0.2}


def said(config: RunConfig, measures: dict[str, float], best_epoch: int = 3) -> str:
    return " ".join(advise(config, measures, 8, best_epoch, {}))


def test_a_gap_is_answered_by_what_the_run_can_change() -> None:
    assert "freeze more layers, lower the residual scale, lower the" in said(RunConfig(), WIDE_GAP)
    assert "freeze" not in said(PROBE, WIDE_GAP) and "residual scale" in said(PROBE, WIDE_GAP)
    assert "residual scale" not in said(DIRECT, WIDE_GAP)
    assert "freeze more layers, lower the learning rate, or stop earlier" in said(DIRECT, WIDE_GAP)


def test_a_fitted_base_is_not_advised_to_who_has_it() -> None:
    saturated = {"val_delta_saturation_quality": 0.5, "delta_saturation_quality": 0.5}
    fitted = run_config_from_flat({"base_init": "fit"})
    assert "--base_init fit" in said(RunConfig(), saturated)
    assert "bound binds" in said(fitted, saturated) and "base_init" not in said(fitted, saturated)


def test_a_run_below_the_floor_is_told_so() -> None:
    floors = {Target.QUALITY: 0.46}
    low = advise(RunConfig(), {"val_srocc_quality": 0.4}, 8, 3, floors)
    assert low == [
        "quality: validation SROCC 0.400 is not above 0.460, which the means of generators and"
        " prompts give without any pixel: first get above that."
    ]
    high = advise(RunConfig(), {"val_srocc_quality": 0.6}, 8, 3, floors)
    assert high == ["Nothing stands out: gap and saturation are within the guide's limits."]


def test_the_floor_of_a_part_ranks_by_what_the_generators_had_in_training() -> None:
    frame = pd.DataFrame(
        {
            "generator": ["a", "b", "c"] * 4,
            "group": np.repeat(["p", "q", "r", "s"], 3),
            "mos_quality": [0.1, 0.5, 0.9, 0.2, 0.6, 0.8, 0.1, 0.4, np.nan, 0.3, 0.5, 0.7],
        }
    )
    floors = floor_scores(frame, np.arange(6), np.arange(6, 12))
    assert floors == {Target.QUALITY: pytest.approx(0.95, abs=0.06)}
