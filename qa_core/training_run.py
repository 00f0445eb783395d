"""One run from a resolved configuration to its measures: train, choose, and read the test once."""

import contextlib
import dataclasses
import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from qa_core.checkpoint import read_checkpoint, save_checkpoint
from qa_core.config import RunConfig
from qa_core.data.splits import Split, train_subset
from qa_core.errors import UserError
from qa_core.evaluation import PARTS, score_predictions
from qa_core.freezing import count_parameters
from qa_core.identity import library_versions, run_identity
from qa_core.interpolation import Interpolation, interpolate
from qa_core.model import QualityModel
from qa_core.modes import checkpoint_name, mode_name
from qa_core.retention import measure_retention
from qa_core.seeding import seed_everything
from qa_core.trainer import (
    Progress,
    StepListener,
    Trainer,
    TrainingData,
    TrainingDiverged,
    probe_epochs,
    trained_state,
)
from qa_core.workspace import Workspace

LAST_CHECKPOINT = "last.pt"

EpochReport = Callable[[int, dict[str, float], Path | None], None]
"""Told after each epoch: its number, its measures, and the checkpoint if it is the best so far."""


@dataclass(frozen=True)
class RunResult:
    """What one run found.

    Attributes:
        history: Measures by epoch; entry 0 is before training.
        best_epoch: The epoch chosen on validation.
        best_selection: Its selection metric.
        metrics: Final measures by name, `test_*` only where the test part was read.
        by_percent: Measures by per cent of the way from the pretrained to the fine-tuned weights,
            where weights were interpolated.
        undefined: Measures that have no value, and why.
        predictions: Scores of the test part, or None.
        checkpoint: The best checkpoint, or None where none was written.
        wall_s: Duration of the run in seconds.
    """

    history: tuple[dict[str, float], ...]
    best_epoch: int
    best_selection: float
    metrics: dict[str, float]
    by_percent: dict[int, dict[str, float]]
    undefined: dict[str, str]
    predictions: pd.DataFrame | None
    checkpoint: Path | None
    wall_s: float


@dataclass
class _Findings:
    metrics: dict[str, float] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: float | None, reason: str) -> None:
        if value is None:
            self.undefined[name] = reason
        else:
            self.metrics[name] = float(value)


def train_run(
    config: RunConfig,
    workspace: Workspace,
    split: Split,
    *,
    test: bool,
    output_dir: Path | None = None,
    on_epoch: EpochReport | None = None,
    on_step: StepListener | None = None,
    resume_from: Path | None = None,
    standalone: bool = False,
) -> RunResult:
    """Train a resolved configuration on one split and measure it.

    Args:
        config: A resolved configuration.
        workspace: Table, images and backbone.
        split: Rows to train on, to choose on and to test on.
        test: Read the test part, once, at the end.
        output_dir: Where the best checkpoint goes; None writes none.
        on_epoch: Told after each epoch.
        on_step: Told after each optimizer step.
        resume_from: A `last.pt` of the same run to go on from.
        standalone: The checkpoint holds the whole model, and `last.pt` beside it, written after
            each epoch, allows going on; otherwise it holds what training changed.

    Raises:
        TrainingDiverged: The loss or the scores became NaN or infinite.
        UserError: `resume_from` belongs to another run.
    """
    started = time.perf_counter()
    _reset_peak_memory(workspace.device)
    model, trainer = prepare_run(config, workspace, split)
    identity = run_identity(config, workspace, split, "run")
    if resume_from is not None:
        _resume(trainer, resume_from, identity)
    path = None if output_dir is None else output_dir / checkpoint_name(config)

    def report(epoch: int, measures: dict[str, float], is_best: bool) -> None:
        if path is not None and is_best:
            best = trainer.progress.best_state
            content = _description(config, workspace, model, standalone, best)
            save_checkpoint(path, content | {"epoch": epoch, "measures": measures})
        if path is not None and standalone:
            _save_last(trainer, path.with_name(LAST_CHECKPOINT), identity)
        if on_epoch is not None:
            on_epoch(epoch, measures, path if is_best else None)

    try:
        progress = trainer.fit(report, on_step)
    except TrainingDiverged as error:
        raise TrainingDiverged(f"{error}{_kept_words(trainer, path, standalone)}") from error
    model.load_state_dict(progress.best_state, strict=False)
    findings = _Findings()
    line = _interpolate(trainer, workspace, split, retention=test) if config.keep.wise_ft else None
    best = progress.history[progress.best_epoch] if line is None else line.chosen
    _training_findings(findings, progress, best, model, workspace.device)
    if line is not None:
        findings.metrics["wise_ft_percent"] = line.percent
        if path is not None:
            content = _description(config, workspace, model, standalone)
            save_checkpoint(path, content | {"epoch": progress.best_epoch, "measures": best})
    if trainer.rows_at_once < config.train.batch_size:
        findings.metrics["rows_at_once"] = trainer.rows_at_once
    predictions = None
    if test:
        predictions = _test(findings, trainer, workspace, split)
        values, undefined = measure_retention(model, workspace, split)
        findings.metrics |= values
        findings.undefined |= undefined
    wall = time.perf_counter() - started
    findings.metrics["wall_s"] = wall
    return RunResult(
        tuple(progress.history),
        progress.best_epoch,
        best["selection"],
        findings.metrics,
        {} if line is None else line.curve,
        findings.undefined,
        predictions,
        path,
        wall,
    )


def prepare_run(
    config: RunConfig, workspace: Workspace, split: Split
) -> tuple[QualityModel, Trainer]:
    """Model and trainer of a resolved configuration, before the first step."""
    assert config.train.threads is not None, "resolve the configuration first"
    torch.set_num_threads(config.train.threads)
    seed_everything(config.train.seed, "model")
    frame = workspace.table.frame
    mos = {t: frame[f"mos_{t}"].to_numpy(float) for t in PARTS if f"mos_{t}" in frame}
    for target, values in mos.items():
        if np.ptp(values[split.train]) == 0:
            raise UserError(f"All MOS of {target} are equal in training: nothing can be ranked.")
    model = QualityModel(workspace.fresh_backbone(config), config).to(workspace.device)
    if config.head.base_init == "fit" and config.head.residual_learning:
        fit_bases(model, workspace, mos, split.train)
    data = TrainingData(
        features=workspace.features(config),
        probe_features=workspace.probe_features(config) if probe_epochs(config) else None,
        mos=mos,
        explanations=_explanation_teacher(config, workspace),
        train=split.train,
        train_subset=train_subset(split, frame["group"].to_numpy(str), config.train.seed),
        validation=split.validation,
    )
    return model, Trainer(model, data, config, workspace.device)


def fit_bases(
    model: QualityModel, workspace: Workspace, mos: dict[str, np.ndarray], train: np.ndarray
) -> None:
    """Start the bases at the data: least squares of MOS on (cos + 1) / 2, logit of the mean MOS."""
    heads: Any = model.heads
    if "consistency" in mos:
        x = (workspace.pretrained_embeddings().cos[train] + 1) / 2
        slope, intercept = np.polyfit(x, mos["consistency"][train], 1)
        heads.c_base_scale.a.data.fill_(float(slope))
        heads.c_base_scale.b.data.fill_(float(intercept))
    if "quality" in mos:
        mean = float(np.clip(mos["quality"][train].mean(), 0.01, 0.99))
        heads.q_base_head.bias.data.fill_(math.log(mean / (1 - mean)))


def _explanation_teacher(config: RunConfig, workspace: Workspace) -> Tensor | None:
    if not config.loss.use_explanations:
        return None
    if "explanation" not in workspace.table.frame:
        raise UserError(
            f"--use_explanations needs a column {config.loss.explanation_column!r} in the table;"
            " name another with --explanation_column."
        )
    texts = workspace.table.frame["explanation"].fillna("").astype(str)
    distinct, index = np.unique(texts.to_numpy(dtype=str), return_inverse=True)
    teacher = torch.from_numpy(workspace.encode_texts(distinct.tolist()))[index]
    return teacher * torch.tensor((texts.str.strip() != "").tolist())[:, None]


def _kept_words(trainer: Trainer, path: Path | None, standalone: bool) -> str:
    """What a run that diverged leaves behind, where anyone can find it."""
    if path is None or not standalone:
        return ""
    progress = trainer.progress
    if not progress.epoch:
        return " No epoch was finished, so there is no checkpoint."
    best = f"the best so far (epoch {progress.best_epoch}) {path}" if progress.best_epoch else ""
    last = f"the last good one (epoch {progress.epoch}) {path.with_name(LAST_CHECKPOINT)}"
    return f" Kept: {', '.join(filter(None, (best, last)))}."


def _interpolate(
    trainer: Trainer, workspace: Workspace, split: Split, retention: bool
) -> Interpolation:
    """Move the model to the best place, on validation, between pretrained and fine-tuned CLIP."""

    def measure() -> dict[str, float]:
        found = trainer.measures()
        if retention:
            found |= measure_retention(trainer.model, workspace, split)[0]
        return found

    return interpolate(trainer.model, workspace.backbone.state_dict(), measure)


def _training_findings(
    findings: _Findings,
    progress: Progress,
    best: dict[str, float],
    model: QualityModel,
    device: str,
) -> None:
    last = progress.history[-1]
    for target in PARTS:
        if f"val_srocc_{target}" in best:
            findings.metrics[f"best_val_srocc_{target}"] = best[f"val_srocc_{target}"]
        for when, measures in (("best", best), ("last", last)):
            gap = measures.get(f"train_val_gap_{target}")
            reason = "no such score, or a constant prediction"
            findings.put(f"{when}_train_val_gap_{target}", gap, reason)
    epochs = progress.history[1:]
    findings.metrics |= {
        "best_epoch": progress.best_epoch,
        "best_selection": best["selection"],
        "epochs_run": progress.epoch,
        "seconds_per_epoch": float(np.mean([m["seconds_per_epoch"] for m in epochs])),
        "trainable_parameters": count_parameters(model, trainable_only=True),
        "total_parameters": count_parameters(model),
        "peak_memory_mb": _peak_memory_mb(device),
    }


def _test(
    findings: _Findings, trainer: Trainer, workspace: Workspace, split: Split
) -> pd.DataFrame:
    frame = workspace.table.frame.iloc[split.test]
    kept = ("name", "prompt", "group", "generator", "mos_quality", "mos_consistency")
    predictions = frame[[column for column in kept if column in frame]].copy()
    predictions.insert(0, "row", split.test)
    for name, values in trainer.predict(split.test).items():
        predictions[name] = values
    for name, scale in trainer.model.residual_scales().items():
        predictions[name] = scale
    values, undefined = score_predictions(predictions)
    findings.metrics |= {f"test_{name}": value for name, value in values.items()}
    findings.undefined |= {f"test_{name}": reason for name, reason in undefined.items()}
    return predictions.reset_index(drop=True)


def _description(
    config: RunConfig,
    workspace: Workspace,
    model: QualityModel,
    whole: bool,
    trained: dict[str, Tensor] | None = None,
) -> dict[str, Any]:
    """A checkpoint's content; `trained` stands in for what training changed in the model."""
    if whole:
        state = dict(model.state_dict()) | (trained or {})
    else:
        state = trained_state(model) if trained is None else trained
    table = workspace.table
    return {
        "config": config.flat(),
        "mode": mode_name(config),
        "whole": whole,
        "blueprint": workspace.backbone.blueprint.plain() if whole else None,
        "backbone_sha256": workspace.backbone_sha256,
        "image_size": workspace.backbone.image_size,
        "pixel_mean": workspace.backbone.pixel_mean.flatten().tolist(),
        "pixel_std": workspace.backbone.pixel_std.flatten().tolist(),
        "range_quality": table.range_quality,
        "range_consistency": table.range_consistency,
        "data": {"name": table.name, "version": table.version, "sha256": table.sha256},
        "versions": library_versions(),
        "state": state,
    }


def _save_last(trainer: Trainer, path: Path, identity: str) -> None:
    save_checkpoint(
        path,
        {
            "identity": identity,
            "state": trained_state(trainer.model),
            "optimizer": trainer.optimizer.state_dict(),
            "average": trainer.average.state() if trainer.average else None,
            "progress": dataclasses.asdict(trainer.progress),
        },
    )


def _resume(trainer: Trainer, path: Path, identity: str) -> None:
    content = read_checkpoint(path)
    if content.get("identity") != identity:
        raise UserError(
            f"{path} belongs to another run: data, split, seed, versions and all flags must be the"
            " same to go on from it."
        )
    trainer.model.load_state_dict(content["state"], strict=False)
    trainer.progress = Progress(**content["progress"])
    trainer.enter_phase(trainer.progress.epoch)
    trainer.optimizer.load_state_dict(content["optimizer"])
    if trainer.average is not None:
        trainer.average.load(content["average"])


def _reset_peak_memory(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # Linux only; elsewhere the peak is the process's own
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory_mb(device: str) -> float:
    """Peak memory since the run began: of the card, or of the process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
