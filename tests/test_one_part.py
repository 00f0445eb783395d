"""Scores of protocols with few test parts, against the definition written out."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_claims import make

from qa_core.measures.metrics import plcc, srocc
from qa_core.targets import Target
from reports.figures.paired import compute_paired
from reports.figures.strips import compute_strips
from reports.verdicts.one_part import lifts_on_parts, part_intervals
from reports.verdicts.results import comparisons


def predictions(seed: int = 0, n_prompts: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {"prompt": f"p{p}", "generator": g, "split": k, "mos_quality": (mos := rng.uniform()),
         "q": mos + offset + rng.normal(0, 0.2), "seed": 0}
        for p in range(n_prompts)
        for k, (g, offset) in enumerate((("g", 0.0), ("h", 5.0)))
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("protocol", "unit"), [("leave_one_generator_out", "generator"), ("cross", "split")]
)
def test_scores_are_means_within_generator_or_draw(protocol, unit):
    table = predictions()
    found = part_intervals(table, protocol)
    assert set(found) == {"srocc_quality", "plcc_quality"}
    for name, statistic in (("srocc_quality", srocc), ("plcc_quality", plcc)):
        parts = [part for _, part in table.groupby(unit)]
        found_values = [statistic(part["q"], part["mos_quality"]) for part in parts]
        values = np.array(found_values, dtype=float)
        interval = found[name]
        assert interval.mean == pytest.approx(np.mean(values))
        assert (interval.kind, interval.n) == ("prompt_bootstrap", 40)
        assert interval.low is not None and interval.high is not None
        assert interval.low < interval.mean < interval.high


@pytest.mark.parametrize("protocol", ["leave_one_generator_out", "cross"])
def test_seeds_are_scored_by_themselves_and_averaged(protocol):
    first, second = predictions(), predictions().assign(seed=1)
    second["q"] = 100 - second["q"]  # pooled, the two would rank each other's images
    found = part_intervals(pd.concat([first, second]), protocol)["srocc_quality"]
    assert found.mean == pytest.approx(0, abs=1e-12)
    assert found.n == 40


def test_a_constant_prediction_has_no_score():
    assert part_intervals(predictions().assign(q=0.5), "cross") == {}
    assert part_intervals(predictions().iloc[:0], "cross") == {}


def test_lifts_are_paired_over_prompts() -> None:
    """The lift by its definition; its interval is that of a paired bootstrap, and mirrored."""
    first, second = predictions(), predictions()
    second["q"] += np.random.default_rng(9).normal(0, 1.0, len(second))
    table = pd.concat([first.assign(mode="traditional"), second.assign(mode="residual")])
    table = table.assign(setting="guide", row=table["prompt"].str[1:].astype(int))
    table = table.assign(run_id=table["mode"] + table["split"].astype(str))
    parts: Any = table
    cells = [
        {"mode": m, "setting": "guide", "split": k, "run_id": f"{m}{k}",
         "test_srocc_quality": srocc(part["q"], part["mos_quality"])}
        for (m, k), part in parts.groupby(["mode", "split"])
    ]  # fmt: skip
    params = {
        "protocol": "cross",
        "interval": "prompt_bootstrap",
        "variance_factor": "1",
        "n_splits": "1",
    }
    ablation = replace(make({}), params=params, predictions=table, cells=pd.DataFrame(cells),
                       targets=(Target.QUALITY,))  # fmt: skip
    lifts = lifts_on_parts(ablation)
    lift = lifts["quality", "residual", "traditional"]
    back = lifts["quality", "traditional", "residual"]
    means: Any = pd.DataFrame(cells).groupby("mode")["test_srocc_quality"].mean()
    assert lift.mean == pytest.approx(means["residual"] - means["traditional"])
    assert (lift.kind, lift.n) == ("prompt_bootstrap", 40)
    assert lift.low is not None and lift.high is not None and back.high is not None
    assert lift.low < lift.mean < lift.high < 0  # the noise is seen
    assert lift.low == pytest.approx(-back.high)
    (row,) = comparisons(ablation, "guide")
    assert (row["first"], row["second"]) == ("traditional", "residual")
    assert row["difference"]["mean"] == pytest.approx(back.mean)
    assert compute_paired(ablation, "quality").intervals == {"residual": lift}
    strips = compute_strips(ablation, "quality").strips
    assert all(strip.interval.low is None for strip in strips)  # splits here are no re-splits
