"""Where modes fail: levels of tested images, and SROCC within them, against plain definitions."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_claims import make

from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.evidence.attributes import find_attributes
from reports.verdicts.breakdown import ALL, break_down, most_frequent

N_PROMPTS, PER_PROMPT, N_SPLITS = 240, 4, 3


def predicted(rng: np.random.Generator) -> pd.DataFrame:
    """Predictions of one mode on three splits of prompts; those of "easy" images are better."""
    rows = np.arange(N_PROMPTS * PER_PROMPT)
    prompt = rows // PER_PROMPT
    style = np.where(prompt % 2 == 0, "easy", "hard")
    mos = rng.normal(size=N_PROMPTS)[prompt] + rng.normal(size=rows.size)
    noise = rng.normal(size=N_PROMPTS)[prompt] + rng.normal(size=rows.size)
    split = prompt % N_SPLITS
    return pd.DataFrame(
        {
            "row": rows,
            "prompt": [" ".join(["word"] * (2 + p % 9)) + f" {p}" for p in prompt],
            "mode": "residual",
            "setting": "guide",
            "split": split,
            "run_id": [f"run {k}" for k in split],
            "mos_quality": mos,
            "q": mos + np.where(style == "easy", 0.3, 2.0) * noise,
            "extra.style": style,
            "extra.weight": rows % 50 / 10,
            "extra.words": [f"a remark of its own {row}" for row in rows],
            "extra.rare": np.where(prompt < 3, "rare", ""),
        }
    )


def ablation_of(frame: pd.DataFrame) -> Ablation:
    images = frame.set_index("row").astype({name: str for name in frame if "extra" in str(name)})
    return replace(make({"residual": 0.7}), images=images, predictions=frame)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return predicted(np.random.default_rng(1))


def test_levels_are_values_or_bands_of_numbers(frame: pd.DataFrame) -> None:
    found = {str(one.name): one for one in find_attributes(ablation_of(frame))}
    assert list(found) == ["words in the prompt", "style", "weight", "rare"]
    assert found["style"].levels == ("easy", "hard")
    assert found["rare"].levels == ("rare", "")
    assert found["weight"].levels[0].startswith("0–") and len(found["weight"].levels) == 4
    lengths = found["words in the prompt"]
    assert [lengths.levels[k] for k in lengths.level_of[[0, 4, 32]]] == ["3–4", "3–4", "9–11"]


def test_a_score_is_the_mean_over_splits_within_the_level(frame: pd.DataFrame) -> None:
    parts = break_down(ablation_of(frame), Target.QUALITY)
    assert parts[0].attribute.name == ALL and parts[0].levels[0].images == len(frame)
    levels = {level.name: level for level in parts[2].levels}
    for name in ("easy", "hard"):
        own = frame[frame["extra.style"] == name]
        scores: list[Any] = [
            stats.spearmanr(part["q"], part["mos_quality"]) for _, part in own.groupby("split")
        ]
        assert levels[name].prompts == N_PROMPTS // 2
        mean = np.mean([one.statistic for one in scores])
        assert levels[name].scores["residual"].mean == pytest.approx(mean)
    assert "rare" not in {str(part.attribute.name) for part in parts}  # three prompts tell nothing


def test_the_interval_is_about_as_wide_as_fresh_prompts_spread() -> None:
    scores, reaches = [], []
    for seed in range(40):
        frame = predicted(np.random.default_rng(100 + seed))
        frame = frame[["row", "mode", "setting", "split", "run_id", "mos_quality", "q",
                       "extra.style"]].assign(prompt=frame["row"] // PER_PROMPT)  # fmt: skip
        hard = break_down(ablation_of(frame), Target.QUALITY)[1].levels[1].scores["residual"]
        assert hard.low is not None and hard.high is not None
        scores.append(hard.mean)
        reaches.append((hard.high - hard.low) / 2)
    assert np.mean(reaches) == pytest.approx(1.98 * np.std(scores, ddof=1), rel=0.3)


def test_a_page_keeps_the_largest_levels_in_their_order(frame: pd.DataFrame) -> None:
    parts = break_down(ablation_of(frame), Target.QUALITY)
    assert sum(len(part.levels) for part in parts) == 11
    kept = most_frequent(parts, 9)
    assert [len(part.levels) for part in kept] == [1, 3, 2, 3]
    lengths = [level.name for level in kept[1].levels]
    assert lengths == [level.name for level in parts[1].levels if level.name in lengths]
