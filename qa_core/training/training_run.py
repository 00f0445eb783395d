"""One run: train, choose the best epoch on validation, read the test part once."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from qa_core.config import RunConfig, with_settings
from qa_core.data.splits import Split, train_subset
from qa_core.errors import UserError
from qa_core.features.workspace import Workspace
from qa_core.model.quality_model import QualityModel
from qa_core.system.seeding import seed_everything, seed_of_split
from qa_core.targets import TARGETS, Target
from qa_core.training.identity import run_identity
from qa_core.training.interpolation import Interpolation, interpolate
from qa_core.training.retention import measure_retention
from qa_core.training.run_checkpoints import RunCheckpoints
from qa_core.training.run_findings import Findings, reset_peak_memory
from qa_core.training.soup import mean_state
from qa_core.training.trainer import (
    StepListener,
    Trainer,
    TrainingDiverged,
    probe_epochs,
)
from qa_core.training.trainer_state import TrainingData

EpochReport = Callable[[int, dict[str, float], Path | None], None]
"""Told after each epoch: its number, its measures, and the checkpoint if a new best was saved."""


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
        split: Rows of its table to train on, to choose on and to test on.
        test: Read the test part, once, at the end.
        output_dir: Where the best checkpoint goes; None writes none.
        on_epoch: Told after each epoch.
        on_step: Told after each optimizer step.
        resume_from: A last state of the same run, to go on from.
        standalone: The checkpoint holds the whole model, and a last state beside it, written
            as training goes on, allows going on; otherwise it holds what training changed.

    Raises:
        TrainingDiverged: The loss or the scores became NaN or infinite.
        UserError: `resume_from` belongs to another run.
    """
    started = time.perf_counter()
    workspace, split = workspace.holding(split)
    reset_peak_memory(workspace.device)
    _, trainer = prepare_run(config, workspace, split)
    identity = run_identity(config, workspace, split, "run")
    files = RunCheckpoints(config, workspace, trainer, identity, output_dir, standalone)
    if resume_from is not None:
        files.resume(resume_from)
    _fit(trainer, files, on_epoch, on_step)
    return _measure(trainer, files, workspace, split, test, started)


def _fit(
    trainer: Trainer,
    files: RunCheckpoints,
    on_epoch: EpochReport | None,
    on_step: StepListener | None,
) -> None:
    """Train to the end, keep files on the way, and load the weights of the best epoch."""

    def report(epoch: int, measures: dict[str, float], _: bool) -> None:
        saved = files.after_epoch()
        if on_epoch is not None:
            on_epoch(epoch, measures, saved)

    try:
        trainer.fit(report, on_step)
    except TrainingDiverged as error:
        if trainer.state.best_epoch:
            files.save_best_epoch()
        raise TrainingDiverged(f"{error}{files.kept_words()}") from error
    trainer.model.load_state_dict(trainer.state.best_state, strict=False)


def _measure(
    trainer: Trainer,
    files: RunCheckpoints,
    workspace: Workspace,
    split: Split,
    test: bool,
    started: float,
) -> RunResult:
    """Final measures of a model at its best epoch; weights are averaged or interpolated first."""
    state, findings, by_percent = trainer.state, Findings(), {}
    best = state.history[state.best_epoch]
    if trainer.config.keep.soup == 1 and not trainer.config.keep.wise_ft:
        files.save_best_epoch()
    if trainer.config.keep.soup > 1:
        trainer.model.load_state_dict(mean_state(state), strict=False)
        best = trainer.measures()
        files.save_best(state.best_epoch, best)
    if trainer.config.keep.wise_ft:
        line = _interpolate(trainer, workspace, split, retention=test)
        best, by_percent = line.chosen, line.curve
        findings.metrics["wise_ft_percent"] = line.percent
        files.save_best(state.best_epoch, best)
    findings.add_training(trainer, best, workspace.device)
    predictions = findings.add_test(trainer, workspace, split) if test else None
    wall = time.perf_counter() - started
    findings.metrics["wall_s"] = wall
    return RunResult(
        history=tuple(state.history),
        best_epoch=state.best_epoch,
        best_selection=best["selection"],
        metrics=findings.metrics,
        by_percent=by_percent,
        undefined=findings.undefined,
        predictions=predictions,
        checkpoint=files.best,
        wall_s=wall,
    )


def prepare_run(
    config: RunConfig, workspace: Workspace, split: Split
) -> tuple[QualityModel, Trainer]:
    """Model and trainer of a resolved configuration, before the first step.

    The trainer's configuration has the split's own seed, derived from the one given.
    """
    config = with_settings(config, seed=seed_of_split(config.train.seed, split.index))
    assert config.train.threads is not None, "resolve the configuration first"
    torch.set_num_threads(config.train.threads)
    seed_everything(config.train.seed, "model")
    frame = workspace.table.frame
    mos = {t: frame[t.mos].to_numpy(float) for t in TARGETS if t.mos in frame}
    for target, values in mos.items():
        rated = values[split.train][~np.isnan(values[split.train])]
        if len(rated) == 0 or np.ptp(rated) == 0:
            raise UserError(f"All MOS of {target} are equal in training: nothing can be ranked.")
    model = QualityModel(workspace.fresh_backbone(config), config).to(workspace.device)
    if config.head.base_init == "fit" and config.head.residual_learning:
        fit_bases(model, workspace, mos, split.train)
    drawn = partial(workspace.with_drawn, config=config, train=split.train)
    data = TrainingData(
        features=drawn(workspace.features(config)),
        probe_features=drawn(workspace.probe_features(config)) if probe_epochs(config) else None,
        mos=mos,
        explanations=_explanation_teacher(config, workspace),
        train=split.train,
        train_subset=train_subset(split, frame["group"].to_numpy(str), config.train.seed),
        validation=split.validation,
        anchors=drawn(workspace.anchors()) if config.keep.anchor else None,
    )
    return model, Trainer(model, data, config, workspace.device)


def fit_bases(
    model: QualityModel, workspace: Workspace, mos: dict[Target, np.ndarray], train: np.ndarray
) -> None:
    """Start the bases at the data: least squares of MOS on (cos + 1) / 2, logit of the mean MOS."""
    heads: Any = model.heads
    if Target.CONSISTENCY in mos:
        rated = train[~np.isnan(mos[Target.CONSISTENCY][train])]
        x = (workspace.pretrained_embeddings().cos[rated] + 1) / 2
        slope, intercept = np.polyfit(x, mos[Target.CONSISTENCY][rated], 1)
        heads.c_base_scale.a.data.fill_(float(slope))
        heads.c_base_scale.b.data.fill_(float(intercept))
    if Target.QUALITY in mos:
        mean = float(np.clip(np.nanmean(mos[Target.QUALITY][train]), 0.01, 0.99))
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


def _interpolate(
    trainer: Trainer, workspace: Workspace, split: Split, retention: bool
) -> Interpolation:
    """Set CLIP to that mean of pretrained and fine-tuned weights that validation prefers."""

    def measure() -> dict[str, float]:
        found = trainer.measures()
        if retention:
            found |= measure_retention(trainer.model, trainer.config, workspace, split)[0]
        return found

    return interpolate(trainer.model, workspace.backbone.state_dict(), measure)
