"""Scores of protocols with few test parts, against the definition written out."""

import numpy as np
import pandas as pd
import pytest

from qa_core.metrics import plcc, srocc
from reports.one_part import part_intervals


def predictions(seed: int = 0, n_prompts: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {"prompt": f"p{p}", "generator": g, "split": k, "mos_quality": (mos := rng.uniform()),
         "q": mos + offset + rng.normal(0, 0.2)}
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


def test_a_constant_prediction_has_no_score():
    assert part_intervals(predictions().assign(q=0.5), "cross") == {}
    assert part_intervals(predictions().iloc[:0], "cross") == {}
