"""Studies in the report: read by their listing, drawn, and claims decided with known answers."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corrected_t import corrected_t
from report_fixture import Made, _Writer, make_ablation
from test_claims import MODES, ORDERED, make, verdicts

from reports.build import build_report
from reports.evidence.design import Design
from reports.evidence.frames import select
from reports.evidence.load import load_ablation
from reports.evidence.studies import ORDER, Study
from reports.figures.studies.ends import compute_ends
from reports.figures.studies.heads import compute_head_grid
from reports.figures.studies.knob import compute_by_mode
from reports.figures.studies.variants import compute_variants
from reports.inference.estimates import from_folds
from reports.inference.influence import Scored, score_part
from reports.verdicts.contrasts import Evidence
from reports.verdicts.decide import Verdict
from reports.verdicts.study_contrasts import freeze_band_best

SPLITS = 5
FACTOR = 1 / SPLITS + 0.4
DESIGN = Design(False, SPLITS, FACTOR, FACTOR)


def study(
    name: str, points: list[dict[str, object]], score: Callable[..., float], noise: float = 0.002
) -> Study:
    """A study whose cells score as the function of their point says."""
    rng = np.random.default_rng(1)
    rows = []
    for number, point in enumerate(points):
        knobs = {k: v for k, v in point.items() if k not in ("mode", "pool")}
        for split in range(SPLITS):
            value = score(**{k: v for k, v in point.items() if k != "pool"})
            rows.append({"point": number, "varies": ",".join(knobs), "lr": 1e-4, "pool": np.nan,
                         "train_share": 1.0, "split": split, "run_id": f"{number}/{split}",
                         **point,
                         "test_srocc_quality": value + rng.normal(0, noise),
                         "test_srocc_consistency": value + rng.normal(0, noise)})  # fmt: skip
    return Study(name, "?", 8, DESIGN, pd.DataFrame(rows), len(rows))


def decide(*studies: Study, **params: str) -> dict[tuple[str, str], Verdict]:
    ablation = make(ORDERED)
    there = {"image_depth": "12", "backbone": "qa-tiny"} | ablation.params | params
    return verdicts(
        dataclasses.replace(ablation, params=there, studies={one.name: one for one in studies})
    )


def depths(best: int, pool_best: int) -> Study:
    points: list[dict[str, object]] = [
        {
            "mode": "residual_partial_freeze",
            "freeze_layers": d,
            "pool": 0.7 - abs(d - pool_best) / 50,
        }
        for d in (0, 2, 3, 4, 6, 8, 9, 10, 12)
    ]
    return study("depth", points, lambda mode, freeze_layers: 0.8 - abs(freeze_layers - best) / 50)


def test_the_band_is_held_against_the_depth_that_the_pool_names() -> None:
    found = decide(depths(best=9, pool_best=4))["freeze_band_best", "quality"]
    assert found.verdict == "supported"
    assert found.contrast == "mean of depths 8, 9, 10 − depth 4 of 12"
    assert found.effect == pytest.approx((0.78 + 0.8 + 0.78) / 3 - 0.7, abs=0.005)
    assert found.n == SPLITS
    assert decide(depths(best=2, pool_best=2))["freeze_band_best", "quality"].verdict == "refuted"


def test_a_contrast_rests_on_prompts_where_folds_test_every_one() -> None:
    rng, one = np.random.default_rng(2), depths(best=9, pool_best=4)
    prompt = np.arange(60).repeat(3)
    parts: dict[str, pd.DataFrame] = {}
    for run_id, split in zip(one.cells["run_id"], one.cells["split"], strict=True):
        tested = prompt[prompt % SPLITS == split]
        mos = np.random.default_rng(split).uniform(size=tested.size)
        parts[run_id] = pd.DataFrame({"run_id": run_id, "split": split, "seed": 0, "group": tested,
                                      "q": mos + rng.normal(0, 0.3, mos.size),
                                      "mos_quality": mos})  # fmt: skip
    design = Design(False, SPLITS, FACTOR, FACTOR, n_folds=SPLITS)
    predictions = pd.concat(parts.values(), ignore_index=True)
    one = dataclasses.replace(one, design=design, predictions=predictions)

    def scored(depth: int, split: int) -> Scored:
        (run_id,) = select(one.cells, freeze_layers=depth, split=split)["run_id"]
        names = sorted({str(k) for k in prompt})
        numbers = np.searchsorted(names, parts[run_id]["group"].astype(str))
        found = score_part(parts[run_id]["q"], parts[run_id]["mos_quality"], numbers, 60)
        assert found is not None
        return found

    by_fold = [
        (scored(8, k) + scored(9, k) + scored(10, k)) * (1 / 3) - scored(4, k)
        for k in range(SPLITS)
    ]
    expected = from_folds(by_fold, [0] * SPLITS, SPLITS)
    ablation = make(ORDERED)
    params = {"image_depth": "12", "backbone": "qa-tiny"} | ablation.params
    whole = dataclasses.replace(ablation, params=params, studies={"depth": one})
    (contrast,) = freeze_band_best(Evidence(whole, "guide"), "quality")
    assert expected is not None and contrast.estimate is not None
    assert contrast.estimate.kind == expected.kind == "prompt_influence"
    assert contrast.mean == pytest.approx(expected.mean)
    assert contrast.estimate.error == pytest.approx(expected.error)


def test_without_a_pool_the_band_stays_untested() -> None:
    whole = depths(9, 4)
    whole = dataclasses.replace(whole, cells=whole.cells.assign(pool=np.nan))
    assert "no tuning pool" in decide(whole)["freeze_band_best", "quality"].reason


def sizes(slope_of_full: float = 0.0, slope_at_10: float = 0.0, slope_at_all: float = 0.0) -> Study:
    points: list[dict[str, object]] = [
        {"mode": mode, "train_share": share} for mode in MODES for share in (0.1, 0.25, 0.5, 1.0)
    ]
    points += [
        {"mode": "residual_partial_freeze", "train_share": share, "residual_scale": scale}
        for share in (0.1, 1.0)
        for scale in (0.05, 0.1, 0.2, 0.5)
    ]

    def score(mode: str, train_share: float, residual_scale: float | None = None) -> float:
        if residual_scale is not None:
            slope = slope_at_10 if train_share == 0.1 else slope_at_all
            return 0.7 + slope * np.log10(residual_scale)
        full = slope_of_full * np.log10(train_share) if mode == "residual" else 0.0
        return 0.7 + 0.05 * np.log10(train_share) + full

    return study("data_size", points, score)


def test_slopes_decide_who_catches_up() -> None:
    rising = decide(sizes(slope_of_full=0.05))["full_catches_up", "quality"]
    assert (rising.verdict, rising.effect) == ("supported", pytest.approx(0.05, abs=0.005))
    assert decide(sizes(slope_of_full=-0.05))["full_catches_up", "quality"].verdict == "refuted"
    assert decide(sizes())["full_catches_up", "quality"].verdict == "not decided"


def test_the_probe_is_held_against_every_rival_with_a_margin() -> None:
    near = decide(sizes())["probe_enough_small_data", "quality"]
    assert (near.verdict, near.null) == ("supported", -0.02)
    far = decide(sizes(slope_of_full=-0.08))["probe_enough_small_data", "quality"]
    assert (far.verdict, far.contrast) == (
        "refuted",
        "linear probe − residual at 10 % of the prompts",
    )


def test_small_scales_suit_little_data_where_the_slope_is_lower_there() -> None:
    suited = decide(sizes(slope_at_10=-0.03, slope_at_all=0.03))["scale_suits_data", "quality"]
    assert (suited.verdict, suited.effect) == ("supported", pytest.approx(-0.06, abs=0.005))
    assert decide(sizes(slope_at_10=0.05))["scale_suits_data", "quality"].verdict == "refuted"


@pytest.mark.parametrize(
    ("drop", "verdict"), [(0.0, "supported"), (0.02, "not decided"), (0.06, "refuted")]
)
def test_batch_size_matters_beyond_two_points(drop: float, verdict: str) -> None:
    points: list[dict[str, object]] = [
        {"mode": mode, "batch_size": size}
        for mode in ("residual", "traditional")
        for size in (8, 16, 32, 64, 128)
    ]
    one = study("batch_size", points, lambda mode, batch_size: 0.7 - drop * (batch_size == 128))
    assert decide(one)["batch_size_hardly_matters", "quality"].verdict == verdict


def rates(best: float) -> Study:
    points: list[dict[str, object]] = []
    for mode in MODES:
        unit = 1e-3 if mode == "linear_probe" else 3e-5
        for factor in (0.1, 1 / 3, 1, 3, 10):
            pool = 0.7 - abs(np.log10(factor / best)) / 10
            points.append({"mode": mode, "lr": unit * factor, "pool": pool})
    values = {(p["mode"], p["lr"]): p["pool"] for p in points}
    return study("lr", points, lambda mode, lr: float(values[mode, lr]))  # type: ignore[arg-type]


def test_the_rates_are_those_of_published_backbones() -> None:
    assert "published" in decide(rates(1))["lr_range_holds_best", "quality"].reason
    found = decide(rates(1), backbone="ViT-B-32")["lr_range_holds_best", "quality"]
    assert found.verdict == "supported"
    wrong = decide(rates(0.1), backbone="ViT-B-32")["lr_range_holds_best", "quality"]
    assert wrong.verdict == "refuted"


def test_a_study_with_missing_cells_decides_nothing() -> None:
    whole = depths(9, 4)
    part = dataclasses.replace(whole, cells=whole.cells.iloc[3:])
    reason = decide(part)["freeze_band_best", "quality"].reason
    assert reason == "3 of 45 cells of the depth study are missing"


def test_curves_use_the_studys_own_variance_factor() -> None:
    data = compute_by_mode(depths(9, 4), "freeze_layers", "test_srocc_quality", "quality")
    (curve,) = data.curves
    assert list(curve.points) == [0, 2, 3, 4, 6, 8, 9, 10, 12]
    values = depths(9, 4).values("test_srocc_quality", freeze_layers=9).to_numpy(float)
    expected = corrected_t(values, FACTOR)
    assert (curve.points[9.0].low, curve.points[9.0].high) == pytest.approx(
        (expected.low, expected.high)
    )


def test_variants_are_differences_from_the_guide() -> None:
    points: list[dict[str, object]] = [
        {"mode": "residual", "variant": v} for v in ("guide", "fitted base")
    ]
    one = study("variants", points, lambda mode, variant: 0.7 + 0.1 * (variant != "guide"))
    data = compute_variants(one, "test_srocc_quality", "")
    assert list(data.rows) == ["fitted base"]
    assert data.rows["fitted base"]["residual"].mean == pytest.approx(0.1, abs=0.005)


def test_crops_are_differences_from_training_without() -> None:
    points: list[dict[str, object]] = [
        {"mode": "residual", "augment": augment} for augment in ("none", "crop_flip")
    ]
    one = study("augmentation", points, lambda mode, augment: 0.7 - 0.1 * (augment != "none"))
    data = compute_variants(one, "test_srocc_quality", "", "augment", "none")
    assert list(data.rows) == ["crop_flip"]
    assert data.rows["crop_flip"]["residual"].mean == pytest.approx(-0.1, abs=0.005)


def test_either_end_and_either_tower_start_where_nothing_is_frozen() -> None:
    points: list[dict[str, object]] = [
        {"mode": "residual_partial_freeze", "frozen": way, "frozen_share": share}
        for way, share in [("nothing", 0.0), ("first blocks", 0.5), ("last blocks", 0.5)]
    ]
    one = study(
        "ends", points, lambda frozen, frozen_share, **_: 0.7 - 0.2 * (frozen == "last blocks")
    )
    first, last = compute_ends(
        one, "test_srocc_quality", ("first blocks", "last blocks"), ""
    ).curves
    assert (first.label, last.label) == ("first blocks", "last blocks")
    assert last.hollow and not first.hollow
    assert [round(point.mean, 1) for point in last.points.values()] == [0.7, 0.5]
    assert first.points[0.0] == last.points[0.0]


def write_study(out: Path, name: str, parent: str, varies: dict[str, list[object]]) -> None:
    """A study in a store, each of its cells made up but one, which a mode's confirmation shares."""
    writer = _Writer(out)
    writer.ablation_id = parent
    tags = {"study": name, "question": f"what of {name}?", "n_splits": "2", "epochs": "3",
            "variance_factor": "0.9"}  # fmt: skip
    for number, values in enumerate(zip(*varies.values(), strict=True)):
        knobs = dict(zip(varies, values, strict=True))
        cells = [f"{name}-{number}-{split}" for split in range(2)]
        if number == 0:
            cells[0] = "residual_partial_freeze-guide-0"  # as the fixture names it
        tags[f"point.{number:03d}"] = json.dumps(
            {"mode": "residual_partial_freeze", "knobs": knobs, "train_share": 1.0,
             "lr": 1e-4, "pool": 0.6 + number / 100, "cells": cells}
        )  # fmt: skip
        for split, identity in enumerate(cells):
            if identity.startswith(name):
                metrics = [(f"test_{m}_{t}", 0.5 + number / 50 + split / 90, 0)
                           for m in ("srocc", "delta_saturation", "clamped")
                           for t in ("quality", "consistency")]  # fmt: skip
                metrics.append(("trainable_parameters", 20_000, 0))
                metrics.append(("lr", 1e-9, 3))  # of the schedule's last step
                own = {"mode": "residual_partial_freeze", "study": name, "split": str(split),
                       "identity": identity}  # fmt: skip
                writer.run("confirmation", own, {}, metrics)
    writer.run("study", tags)


KNOBS: dict[str, dict[str, list[object]]] = {
    "ladder": {"rung": ["residual", "lora"]},
    "depth": {"freeze_layers": [0, 6, 8, 12]},
    "ends": {"frozen": ["nothing", "first blocks", "text tower"], "frozen_share": [0.0, 0.5, 1.0]},
    "scale": {"residual_scale": [0.1, 0.2, 1.0]},
    "data_size": {"train_share": [0.1, 1.0]},
    "batch_size": {"batch_size": [8, 32]},
    "augmentation": {"augment": ["none", "crop_flip"]},
    "lr": {"lr": [1e-5, 1e-4]},
    "variants": {"variant": ["guide", "fitted base"]},
    "heads": {"variant": ["guide", "best of 64 on the pool"]},
}


def test_a_grid_of_heads_is_a_map_with_the_guide_and_the_best_marked() -> None:
    grid = ((1e-3, 0.2, 0.6), (1e-3, 0.4, None), (1e-2, 0.2, 0.8), (1e-2, 0.4, 0.7))
    one = study("heads", [{"mode": "linear_probe", "variant": "guide"}], lambda **_: 0.7)
    assert compute_head_grid(one) is None
    data = compute_head_grid(dataclasses.replace(one, grid=grid))
    assert data is not None
    assert (data.guide, data.best) == ((1e-3, 0.2), (1e-2, 0.2))
    np.testing.assert_array_equal(data.scores, [[0.6, 0.8], [np.nan, 0.7]])


def test_a_report_with_all_studies_builds_and_keeps_them_out_of_the_modes(tmp_path: Path) -> None:
    parent = make_ablation(tmp_path, Made(n_splits=2, n_trials=0))
    alone = load_ablation(f"sqlite:///{tmp_path}/mlflow.db")
    for name in KNOBS:
        write_study(tmp_path, name, parent, KNOBS[name])
    assert build_report(tmp_path).stat().st_size > 10_000
    ablation = load_ablation(f"sqlite:///{tmp_path}/mlflow.db")
    pd.testing.assert_frame_equal(ablation.cells, alone.cells)
    assert tuple(ablation.studies) == ORDER
    assert {len(s.cells) - s.n_listed for s in ablation.studies.values()} == {0}
    shared = ablation.studies["depth"].cells["run_id"].iloc[0]
    assert shared in set(ablation.cells["run_id"])
    assert {f.stem for f in tmp_path.glob("figures/study_*.svg")} == {f"study_{n}" for n in KNOBS}
    points = json.loads((tmp_path / "results.json").read_text())["studies"]["depth"]["points"]
    assert [point["knobs"]["freeze_layers"] for point in points] == [0, 6, 8, 12]
    assert points[1]["srocc_quality"]["n"] == 2
    assert {point["lr"] for point in points} == {1e-4}
