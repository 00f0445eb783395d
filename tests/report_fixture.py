"""A small, plainly synthetic ablation in a real MLflow store, for the report's tests.

No number here was measured: scores are drawn around made-up means.
"""

import json
import shutil
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
import pandas as pd

MODES = ("traditional", "residual", "residual_partial_freeze", "linear_probe")
HOSTILE = (
    "a \"quoted\" 'cat' #set page(fill: red) $x^2$ *bold* _it_ @ref <label> \\ [x] `raw`",
    "📷 🐈 a cat, 一只猫, кот",
    "صورة قطة على كرسي أحمر",
    "very long " * 1000,
    '#panic("no")\n\n= heading\t$',
    '</script><script>window.pwned = 1</script><img src=x onerror="window.pwned = 1">',
)
_MEANS = {"traditional": 0.70, "residual": 0.72, "residual_partial_freeze": 0.75,
          "linear_probe": 0.74}  # fmt: skip
ARMS = ("lp_ft", "wise_ft")
"""Arms that can be made; both modify the residual mode and are a little better than it."""
_MEANS |= {"lp_ft": 0.735, "wise_ft": 0.73}
_GAPS = {"traditional": 0.15, "residual": 0.12, "residual_partial_freeze": 0.07,
         "linear_probe": 0.03}  # fmt: skip
_RETENTION = {"traditional": 0.71, "residual": 0.78, "residual_partial_freeze": 0.91,
              "linear_probe": 1.0}  # fmt: skip
_GAPS |= dict.fromkeys(ARMS, 0.1)
_RETENTION |= {"lp_ft": 0.8, "wise_ft": 0.95}


@dataclass(frozen=True)
class Made:
    """What a synthetic ablation contains."""

    targets: tuple[str, ...] = ("quality", "consistency")
    modes: tuple[str, ...] = MODES
    arms: tuple[str, ...] = ()
    n_splits: int = 10
    epochs: int = 8
    n_trials: int = 8
    generators: bool = True
    references: bool = True
    complete: bool = True
    profile: str = "default"
    protocol: str = "honest"
    params: dict[str, str] = field(default_factory=dict)


@cache
def _empty_store() -> Path:
    """A store with MLflow's tables in it: making them takes seconds, so it is done once."""
    from qa_core.records.mlflow_store import open_store

    folder = Path(mkdtemp(prefix="report-fixture-"))
    open_store(folder / "out")
    return folder / "out" / "mlflow.db"


class _Writer:
    """Writes runs of one ablation."""

    def __init__(self, out: Path):
        from mlflow.tracking import MlflowClient

        out.mkdir(parents=True, exist_ok=True)
        if not (out / "mlflow.db").exists():
            shutil.copy(_empty_store(), out / "mlflow.db")
        self.client = MlflowClient(tracking_uri=f"sqlite:///{out.resolve()}/mlflow.db")
        old = self.client.get_experiment_by_name("ablation")
        if old is not None and not old.artifact_location.startswith(out.resolve().as_uri()):
            self.client.rename_experiment(old.experiment_id, "template")
            old = None
        self.experiment = (
            old.experiment_id
            if old is not None
            else self.client.create_experiment("ablation", (out.resolve() / "artifacts").as_uri())
        )
        self.clock = 1_700_000_000_000
        self.ablation_id = ""

    def run(
        self,
        kind: str,
        tags: dict[str, str],
        params: dict[str, Any] | None = None,
        metrics: list[tuple[str, float, int]] | None = None,
        status: str | None = "FINISHED",
        artifacts: Path | None = None,
    ) -> str:
        """Write one run in one batch and close it (status None leaves it running)."""
        from mlflow.entities import Metric, Param, RunTag

        self.clock += 1000
        if self.ablation_id:
            tags = {"ablation_id": self.ablation_id, **tags}
        run = self.client.create_run(self.experiment, start_time=self.clock,
                                     tags={"kind": kind, **tags})  # fmt: skip
        run_id = run.info.run_id
        logged = [Metric(k, float(v), self.clock, step) for k, v, step in metrics or []]
        parameters = [Param(k, str(v)) for k, v in (params or {}).items()]
        tagged = [RunTag("done", "yes")]
        for start in range(0, max(len(logged), 1), 900):
            batch = logged[start : start + 900]
            self.client.log_batch(run_id, batch, parameters if start == 0 else [], tagged)
        if artifacts is not None:
            self.client.log_artifacts(run_id, str(artifacts))
        if status is not None:
            self.client.set_terminated(run_id, status, end_time=self.clock + 41_500)
        return run_id


def make_ablation(out: Path, made: Made | None = None) -> str:
    """Write a synthetic ablation to `out`/mlflow.db; returns the parent's run id."""
    made = made or Made()
    writer = _Writer(out)
    rng = np.random.default_rng(7)
    parent = writer.run(
        "ablation",
        {"complete": "true" if made.complete else "false"},
        _parent_params(made),
        [("wall_s", 1234.5, 0)] if made.complete else [],
        "FINISHED" if made.complete else None,
    )
    writer.ablation_id = parent
    for mode in (*made.modes, *made.arms):
        _write_mode(writer, made, mode, parent, rng)
    if made.references:
        _write_references(writer, made, rng)
    return parent


def _parent_params(made: Made) -> dict[str, str]:
    kfold = made.protocol == "grouped_kfold"
    params = {
        "profile": made.profile, "protocol": made.protocol, "data_name": "made-up scenes",
        "data_version": "1", "data_sha256": "ab" * 32, "n_images": "200", "n_prompts": "40",
        "n_generators": "4" if made.generators else "0", "targets": ",".join(made.targets),
        "backbone": "qa-tiny", "pretrained": "qa-tiny.safetensors", "backbone_sha256": "cd" * 32,
        "image_depth": "12", "n_splits": str(made.n_splits), "n_trials": str(made.n_trials),
        "epochs": str(made.epochs), "split_seed": "0",
        "variance_factor": str(1 / made.n_splits + 0.25) if kfold else "0.4",
        "fusion_inputs": "img,txt,cos", "base_init": "unit", "batch_size": "32",
        "range_quality": "[0.0, 1.0]", "threads_per_worker": "1", "workers": "2",
        "code_version": "0123456-dirty", "results_version": "1", "python": "3.11.9",
        "torch": "2.15", "open_clip": "3.3", "optuna": "5.0", "mlflow": "3.17",
        "machine": "2 cores, 23 GiB, cpu", "notes": '["Scores are made up: a test fixture."]',
    }  # fmt: skip
    return params | made.params


def _write_mode(
    writer: _Writer, made: Made, mode: str, parent: str, rng: np.random.Generator
) -> None:
    guide: dict[str, float] = {"lr": 1e-3 if mode == "linear_probe" else 1e-4}
    if mode != "traditional":
        guide |= {"residual_scale_q": 0.2, "residual_scale_c": 0.2}
    if mode == "residual_partial_freeze":
        guide["freeze_layers"] = 8
    moved = made.n_trials > 0 and mode == "residual"
    tags = {"mode": mode, "mlflow.parentRunId": parent}
    if mode in ARMS:
        tags |= {"arm_of": "residual", "words": f"what {mode} does"}
    params = {"guide_setting": json.dumps(guide)}
    if made.n_trials:
        params["tuned_setting"] = json.dumps(guide | ({"lr": 3e-4} if moved else {}))
        tags |= {"tuned_is_guide": str(not moved).lower(),
                 "tuned_reason": "beats the guide by two standard errors" if moved
                 else "no trial beat the guide by one standard error"}  # fmt: skip
    else:
        tags["tuned_reason"] = "40 prompts are too few for a tuning pool"
    run_id = writer.run("mode", tags, params)
    for trial in range(made.n_trials):
        _write_trial(writer, mode, trial, guide, run_id, rng)
    for setting in ("guide", "tuned") if moved else ("guide",):
        for split in range(made.n_splits):
            _write_cell(writer, made, (mode, setting, split), run_id, rng)


def _write_trial(
    writer: _Writer, mode: str, trial: int, guide: dict[str, float], parent: str,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    params: dict[str, Any] = dict(guide)
    if trial:
        params |= {k: round(v * rng.uniform(0.5, 2), 6) for k, v in guide.items()}
        if "freeze_layers" in params:
            params["freeze_layers"] = int(rng.integers(1, 12))
    state = {5: "PRUNED", 6: "FAIL"}.get(trial, "COMPLETE")
    tags = {"mode": mode, "trial": str(trial), "state": state, "mlflow.parentRunId": parent}
    if state == "FAIL":
        tags["error"] = "Traceback (most recent call last):\nRuntimeError: $made up# <failure>"
    metrics = (
        [("objective", _MEANS.get(mode, 0.73) + rng.normal(0, 0.01), 0)]
        if state == "COMPLETE"
        else []
    )
    status = {"PRUNED": "KILLED", "FAIL": "FAILED"}.get(state, "FINISHED")
    writer.run("trial", tags, params, metrics, status)


def _write_cell(
    writer: _Writer, made: Made, cell: tuple[str, str, int], parent: str, rng: np.random.Generator
) -> None:
    mode, setting, split = cell
    shared = np.random.default_rng(split).normal(0, 0.015, 2)  # what a split does to all modes
    kept = _RETENTION.get(mode, 0.9)
    metrics: list[tuple[str, float, int]] = []
    undefined: dict[str, str] = {}
    for target, shift in zip(made.targets, shared, strict=False):
        score = (
            _MEANS.get(mode, 0.73) + shift + rng.normal(0, 0.006) - (target == "consistency") * 0.06
        )
        metrics += _target_metrics(made, mode, target, score, undefined, rng)
    for epoch in range(1, made.epochs + 1):
        metrics += [("loss", 0.1 / epoch, epoch), ("lr", 1e-4, epoch)]
    metrics += [
        ("alignment_retention", kept - abs(rng.normal(0, 0.01)) * (kept < 1), 0),
        ("alignment_retention_matched", kept - 0.02 * (kept < 1), 0),
        ("alignment_retention_shuffled", kept, 0),
        ("trainable_parameters", {"linear_probe": 9e3}.get(mode, 8e5), 0),
        ("seconds_per_epoch", {"linear_probe": 0.4}.get(mode, 4.0) * rng.uniform(0.95, 1.05), 0),
        ("peak_memory_mb", 700, 0),
        ("best_epoch", made.epochs, 0), ("epochs_run", made.epochs, 0), ("wall_s", 41.5, 0),
    ]  # fmt: skip
    if mode == "wise_ft":
        metrics.append(("wise_ft_percent", 60 + 10 * (split % 2), 0))
        for percent in range(0, 101, 10):
            metrics += [(f"wise_ft_val_srocc_{t}", 0.7 - (percent / 100 - 0.65) ** 2 / 10, percent)
                        for t in made.targets]  # fmt: skip
            metrics.append(("wise_ft_alignment_retention", 1 - 0.2 * percent / 100, percent))
    undefined["retention_r_at_1"] = "pretrained R@1 is below three times chance"
    tags = {"mode": mode, "setting": setting, "split": str(split), "seed": "0",
            "identity": f"{mode}-{setting}-{split}", "mlflow.parentRunId": parent,
            "undefined": json.dumps(undefined),
            "checkpoint": f"baseline_{mode}_best.pt"}  # fmt: skip
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write_artifacts(folder, made, mode, split)
        writer.run("confirmation", tags, {"mode": mode, "lr": 1e-4}, metrics, artifacts=folder)


def _target_metrics(
    made: Made, mode: str, target: str, score: float, undefined: dict[str, str],
    rng: np.random.Generator,
) -> list[tuple[str, float, int]]:  # fmt: skip
    gap = _GAPS.get(mode, 0.08) + rng.normal(0, 0.01)
    final = {
        "test_srocc": score, "test_plcc": score + 0.01, "test_plcc_fitted": score + 0.02,
        "test_krocc": score - 0.18, "test_rmse": 0.12, "test_clamped": 0.0,
        "best_val_srocc": score + 0.01, "train_val_gap_best": gap - 0.01,
        "train_val_gap_last": gap,
    }  # fmt: skip
    if made.generators:
        final["test_within_generator_srocc"] = score - 0.1
    else:
        undefined[f"test_within_generator_srocc_{target}"] = "no generators named"
    residual = mode != "traditional"
    if residual:
        final |= {"test_base_srocc": score - 0.02, "test_delta_small": 0.6,
                  "test_delta_saturation": abs(rng.normal(0.03, 0.02))}  # fmt: skip
    else:
        for name in ("test_base_srocc", "test_delta_small", "test_delta_saturation"):
            undefined[f"{name}_{target}"] = "no residual prediction"
    metrics = [(f"{name}_{target}", value, 0) for name, value in final.items()]
    for epoch in range(made.epochs + 1):
        value = score * (1 - 0.4 * np.exp(-epoch / 2)) + rng.normal(0, 0.004)
        grown = gap * epoch / made.epochs
        metrics.append((f"val_srocc_{target}", value, epoch))
        if epoch:
            metrics += [(f"train_srocc_{target}", value + grown, epoch),
                        (f"train_val_gap_{target}", grown, epoch)]  # fmt: skip
        if residual:
            saturation = 0.04 * epoch / made.epochs
            metrics.append((f"delta_saturation_{target}", saturation, epoch))
    return metrics


def _write_artifacts(folder: Path, made: Made, mode: str, split: int) -> None:
    """Predictions of a made-up test part of 40 images, hostile prompts among them."""
    from PIL import Image

    rng = np.random.default_rng(100 + split)
    rows = rng.choice(200, 40, replace=False)
    prompts = [HOSTILE[r % 40] if r % 40 < len(HOSTILE) else f"scene {r % 40}" for r in rows]
    frame = pd.DataFrame({"row": rows, "name": [f"{r}.png" for r in rows], "prompt": prompts})
    if made.generators:
        frame["generator"] = [("alpha", "beta_$x$", "gamma", "NA")[r % 4] for r in rows]
    for target in made.targets:
        part = target[0]
        mos = np.random.default_rng(1).uniform(0.1, 0.9, 200)[rows]
        frame[f"mos_{target}"] = mos
        frame[part] = np.clip(mos * 0.6 + 0.2 + rng.normal(0, 0.1, 40), 0, 1)
        if mode != "traditional":
            frame[f"{part}_base"] = frame[part]
            frame[f"{part}_delta"] = np.tanh(rng.normal(0, 0.6, 40))
            frame[f"residual_scale_{part}"] = 0.2
    frame["cos"] = rng.uniform(0.1, 0.4, 40)
    frame.to_csv(folder / "predictions.csv", index=False)
    (folder / "thumbnails").mkdir()
    for row in sorted(rows, key=lambda r: r % 40)[:3]:
        shade = (int(row), 120, 200 - int(row))
        Image.new("RGB", (96, 64 + 32 * (int(row) % 2)), shade).save(
            folder / "thumbnails" / f"{row}.jpg"
        )


def _write_references(writer: _Writer, made: Made, rng: np.random.Generator) -> None:
    means = {"zeroshot": 0.60, "ridge": 0.71, "scene": 0.65, "floor": 0.45, "ceiling": 0.93}
    for reference, mean in means.items():
        for split in range(made.n_splits):
            metrics = [
                (f"{name}_{target}", mean + rng.normal(0, 0.01), 0)
                for target in made.targets
                for name in ("test_srocc", "test_plcc")
            ]
            writer.run("reference", {"reference": reference, "split": str(split)}, {}, metrics)
