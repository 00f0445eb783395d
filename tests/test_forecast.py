"""Forecasts: tried on this machine, and on paper."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qa_core.arms import MODES
from qa_core.config import run_config_from_flat, with_settings
from qa_core.data.splits import Split, plan_splits
from qa_core.features.workspace import Workspace
from qa_core.measures.alignment import RENDERED_PAIRS
from qa_core.modes import BackboneSpec, mode_config
from qa_core.records.schema import Param
from studies.forecast import Pace, forecast_ablation
from studies.paper_forecast import backbone_spec, forecast_on_paper, towers
from studies.profiles import PROFILES, Profile
from studies.space import mode_space


def test_a_plan_names_every_mode_and_grows_with_the_ablation(
    narrow_models: None, small_table: Path, tmp_path: Path
) -> None:
    flags = {"backbone": "narrow-3", "pretrained": "none", "data_csv_path": str(small_table)}
    base = run_config_from_flat(flags | {"threads": 1, "epochs": 2})
    undecoded = run_config_from_flat(flags | {"cache": False})
    workspace = Workspace.open(undecoded, tmp_path)
    spaces = {mode: mode_space(mode, base, workspace.spec) for mode in MODES}
    splits = plan_splits(workspace.table.frame["group"].to_numpy(str), "honest")
    plan = forecast_ablation(workspace, spaces, splits, Profile(10, 8, 2), workers=2)
    assert plan.tune_s.keys() == plan.confirm_s.keys() == MODES.keys()
    worker_seconds = sum(plan.tune_s.values()) + sum(plan.confirm_s.values())
    assert plan.whole_s > worker_seconds / 2 > 0
    # each split is confirmed again if tuned, and two of three folds of four trials may be pruned
    spared = 2 * (plan.whole_s - plan.least_s)
    tune_s, confirm_s = (sum(of.values()) for of in (plan.tune_s, plan.confirm_s))
    assert 0 < spared - confirm_s / 2 < 2 / 3 * 4 / 8 * tune_s
    assert plan.disk_gb["decoded images"] == pytest.approx(24 * 3 * 32 * 32 / 1e9)
    assert plan.disk_gb["checkpoints"] > 0 and plan.memory_gb > 0
    assert plan.params().keys() == {Param.planned(mode) for mode in MODES} | {Param.PLANNED_WHOLE}
    with_study = forecast_ablation(
        workspace, spaces, splits, Profile(10, 8, 2, studies=("depth", "heads")), workers=2
    )
    cropped = {
        m: mode_space(m, with_settings(base, augment="crop_flip"), workspace.spec) for m in MODES
    }
    crops = forecast_ablation(workspace, cropped, splits, Profile(10, 8, 2), workers=2)
    assert crops.disk_gb["decoded images"] == pytest.approx(9 * plan.disk_gb["decoded images"])
    assert crops.disk_gb["activations"] == pytest.approx(9 * plan.disk_gb["activations"], rel=0.5)
    assert plan.studies_s == {}
    # the heads: two settings on ten splits, with no cell of their own on the pool
    assert with_study.studies_s["depth"] > with_study.studies_s["heads"] > 0
    assert not list(tmp_path.iterdir())  # nothing was decoded or kept


def test_a_plan_counts_the_places_at_which_interpolated_weights_are_measured() -> None:
    spec = BackboneSpec(12, 4, published=False)
    rows = np.arange(300)
    split = Split(0, rows[:200], rows[200:240], rows[240:])
    plain = Pace(3e-3, 1e-3, 0.0, 0, spec)
    line = replace(plain, places=11)
    more = line.seconds(8, split) - plain.seconds(8, split)
    assert more == pytest.approx(11 * (2 * 40 + RENDERED_PAIRS) * 1e-3)
    published = replace(plain, spec=replace(spec, published=True))
    fewer = plain.seconds(8, split) - published.seconds(8, split)
    assert fewer == pytest.approx((RENDERED_PAIRS - 60) * 1e-3)


def test_a_forecast_on_paper_counts_what_is_known_of_vit_l_14() -> None:
    image, _ = towers("ViT-L-14")
    assert (image.depth, image.width, image.tokens) == (24, 1024, 257)
    # published: 81 G multiply-adds an image
    assert image.depth * image.block_flops == pytest.approx(2 * 81e9, rel=0.02)
    base = run_config_from_flat({"backbone": "ViT-L-14", "epochs": 8})
    configs = {mode: mode_config(mode, base, backbone_spec("ViT-L-14")) for mode in MODES}
    one = forecast_on_paper(configs, PROFILES["default"], 30_000, cards=1)
    eight = forecast_on_paper(configs, PROFILES["default"], 30_000, cards=8)
    assert one.hours["residual"] > one.hours["residual_partial_freeze"] > one.hours["linear_probe"]
    assert one.hours == eight.hours and one.whole_hours / 8 < eight.whole_hours < one.whole_hours
    tokens = 30_000 * 257 * 1024 * 4 / 1e9
    assert one.disk_gb["activations, one depth, full precision"] == pytest.approx(tokens)
    assert one.cached_depths == 0  # 20 GB hold none of 31.6 GB
    roomy = {
        m: with_settings(c, cache_gb=400.0, cache_precision="half") for m, c in configs.items()
    }
    cached = forecast_on_paper(roomy, PROFILES["default"], 30_000, cards=1)
    assert cached.cached_depths == 24
    crops = {m: with_settings(c, augment="crop_flip") for m, c in configs.items()}
    augmented = forecast_on_paper(crops, PROFILES["default"], 30_000, cards=1)
    key = "activations, one depth, full precision"
    assert augmented.disk_gb[key] == pytest.approx(9 * tokens)
    partial = "residual_partial_freeze"
    assert (
        cached.hours[partial] < one.hours[partial]
        and cached.hours["residual"] == one.hours["residual"]
    )


def test_half_a_forecast_on_paper_is_refused() -> None:
    command = [sys.executable, "-m", "experiments.plan", "--cards", "1"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2 and "--n_images" in answer.stderr
