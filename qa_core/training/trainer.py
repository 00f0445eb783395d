"""The training loop: epochs, validation, the best epoch, early stopping, exact resume."""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from qa_core.config import RunConfig
from qa_core.errors import UserError
from qa_core.features.inputs import Features
from qa_core.measures.epoch_measures import gap_measures, validation_measures
from qa_core.model.quality_model import QualityModel
from qa_core.system.device import copied_to
from qa_core.system.memory import in_pieces_that_fit
from qa_core.system.seeding import derived_seed, random_state, restore_random_state, seed_everything
from qa_core.targets import Target
from qa_core.training.averaging import WeightAverage
from qa_core.training.losses import Labels, total_loss
from qa_core.training.optim import lr_factor, make_optimizer, set_lr
from qa_core.training.penalties import Penalties
from qa_core.training.trainer_state import TrainerState, TrainingData

EVAL_BATCH = 64
LOOK_EVERY = 100
"""Steps after which the loss is looked at within an epoch, so that none goes on for long as NaN."""

StepListener = Callable[[int, int], None]
"""Told after each step: steps done and steps of the whole run."""

EpochListener = Callable[[int, dict[str, float], bool], None]
"""Told after each epoch: its number, its measures, and whether it is the best so far."""


class TrainingDiverged(UserError):
    """The loss or the scores became NaN or infinite."""


class Trainer:
    """Trains one model on one split, an epoch at a time.

    Args:
        model: On its device, freezing applied.
        data: Rows, features and labels.
        config: A resolved configuration.
        device: Where the model is.
    """

    def __init__(self, model: QualityModel, data: TrainingData, config: RunConfig, device: str):
        self.model, self.data, self.config, self.device = model, data, config, device
        self.state = TrainerState()
        self.rows_at_once = config.train.batch_size
        per_step = config.train.batch_size * config.optim.grad_accum_steps
        self.steps_per_epoch = math.ceil(len(data.train) / per_step)
        self.total_steps = self.steps_per_epoch * config.train.epochs
        self.probe_epochs = probe_epochs(config)
        self.penalties = Penalties.of(model, config.keep, data.anchors)
        self.start = model.trained_state() if config.keep.soup > 1 else {}
        self.mos = {
            target: torch.tensor(values, dtype=torch.float32, device=device)
            for target, values in data.mos.items()
        }
        self.enter_phase(epoch=1)

    def enter_phase(self, epoch: int) -> None:
        """Prepare the phase of an epoch: training the heads alone, or everything that trains."""
        self.probing = epoch <= self.probe_epochs
        self.model.hold_clip(self.probing)
        keep = self.config.keep
        self.optimizer = make_optimizer(
            self.model, self.config.optim, keep.layer_decay, decays_clip=keep.l2_sp == 0
        )
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        changing = [*self.trained, *self.model.trained_statistics().values()]
        self.average = WeightAverage(changing, keep.ema_decay) if keep.ema_decay else None

    @property
    def features(self) -> Features:
        """Inputs of all rows for the present phase."""
        probing = self.data.probe_features if self.probing else None
        return self.data.features if probing is None else probing

    def fit(
        self, on_epoch: EpochListener | None = None, on_step: StepListener | None = None
    ) -> TrainerState:
        """Train from where `state` stands to the last epoch or an early stop, of a soup often.

        Raises:
            TrainingDiverged: The loss is no longer finite; the best state so far is kept.
        """
        if not self.state.history:
            self.state.history.append(self.validation_measures())
        self._since = time.perf_counter()
        while True:
            while not self._is_at_its_end():
                is_best = self._one_epoch(on_step)
                if on_epoch is not None:
                    on_epoch(self.state.epoch, self.state.history[-1], is_best)
            if len(self.state.ingredients) + 1 >= self.config.keep.soup:
                return self.state
            self.state.begin_again()
            self.model.load_state_dict(self.start, strict=False)
            self.enter_phase(self.state.epoch + 1)

    def _one_epoch(self, on_step: StepListener | None) -> bool:
        epoch = self.state.epoch + 1
        if self.probing and epoch > self.probe_epochs:
            self.enter_phase(epoch)
        measures = self._train_epoch(epoch, on_step)
        with self.average.in_place() if self.average else contextlib.nullcontext():
            measures |= self.measures()
            # by the clock: what was done after the epoch before, as writing its files, counts
            now = time.perf_counter()
            measures["seconds_per_epoch"], self._since = now - self._since, now
            least = self.config.train.early_stopping_min_delta
            return self.state.record(measures, least, lambda: self.model.trained_state())

    def _is_at_its_end(self) -> bool:
        """Whether the present training has had its epochs, or stops early."""
        patience, epoch = self.config.train.early_stopping_patience, self.state.epoch
        since = max(self.state.improved_epoch, self.probe_epochs)
        has_all = epoch - self.state.begun >= self.config.train.epochs
        return has_all or 0 < patience <= epoch - since

    def _train_epoch(self, epoch: int, on_step: StepListener | None) -> dict[str, float]:
        seed_everything(self.config.train.seed, "epoch", epoch)
        self.model.train()
        sums: dict[str, list[Tensor]] = {}
        lr = 0.0
        for step, micro_batches in enumerate(self._steps(epoch)):
            position = (epoch - 1 - self.state.begun) * self.steps_per_epoch + step
            factor = self._lr_factor(position)
            set_lr(self.optimizer, factor)
            lr = factor * float(self.config.optim.lr or 0.0)
            self.model.set_progress(position / self.total_steps)
            for name, value in self._step(micro_batches).items():
                sums.setdefault(name, []).append(value)
            if self.average is not None:
                self.average.update()
            if step % LOOK_EVERY == LOOK_EVERY - 1:
                _require_finite(float(sums["loss"][-1]), epoch)
            if on_step is not None:
                before = self.state.begun * self.steps_per_epoch
                on_step(before + position + 1, self.total_steps * self.config.keep.soup)
        # read here and not at every step: to read a value is to wait for the device
        summed = {name: float(torch.stack(s).cpu().double().sum()) for name, s in sums.items()}
        means = {name: value / len(self.data.train) for name, value in summed.items()}
        _require_finite(means["loss"], epoch)
        return means | {"lr": lr}

    def _lr_factor(self, position: int) -> float:
        """Factor on the rates at a step of the run; each phase has its own schedule."""
        probing = self.probe_epochs * self.steps_per_epoch
        first, last = (0, probing) if position < probing else (probing, self.total_steps)
        return lr_factor(position - first, last - first, self.steps_per_epoch, self.config.optim)

    def _steps(self, epoch: int) -> Iterator[list[np.ndarray]]:
        seed = derived_seed(self.config.train.seed, "order", epoch)
        order = np.random.default_rng(seed).permutation(self.data.train)
        size = self.config.train.batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        accum = self.config.optim.grad_accum_steps
        for start in range(0, len(batches), accum):
            yield batches[start : start + accum]

    def _step(self, micro_batches: list[np.ndarray]) -> dict[str, Tensor]:
        """One optimizer step; a batch that does not fit into memory is split by accumulation.

        Returns sums of the loss terms over the rows, on the device.
        """
        before = random_state()

        def attempt(at_once: int) -> dict[str, Tensor]:
            restore_random_state(before)
            pieces = [
                rows[start : start + at_once]
                for rows in micro_batches
                for start in range(0, len(rows), at_once)
            ]
            return self._gradients(pieces)

        sums, fitted = in_pieces_that_fit(self.rows_at_once, attempt)
        if fitted < self.rows_at_once:
            self.rows_at_once = fitted
            logging.getLogger(__name__).warning(_split_words(self.config, fitted))
        if self.config.optim.max_grad_norm > 0:
            at_once = True if self.device == "cpu" else None  # where torch would not by itself
            clip_grad_norm_(self.trained, self.config.optim.max_grad_norm, foreach=at_once)
        self.optimizer.step()
        return sums

    def _gradients(self, pieces: list[np.ndarray]) -> dict[str, Tensor]:
        """Compute gradients of the mean loss over all rows; returns sums of the loss terms."""
        self.optimizer.zero_grad(set_to_none=True)
        total_rows = sum(len(rows) for rows in pieces)
        sums: dict[str, Tensor] = {}
        for rows in pieces:
            batch = self.features.batch(rows, self.device, draw=True)
            with self._autocast():
                output = self.model(batch)
            loss, parts = total_loss(
                output, self._labels(rows), self.config.loss, self.config.refinement.strict_residual
            )
            penalties = self.penalties.terms(self.model, output, rows, batch)
            loss, parts = sum(penalties.values(), loss), parts | penalties
            (loss * (len(rows) / total_rows)).backward()
            for name, value in ({"loss": loss} | parts).items():
                of_piece = value.detach() * len(rows)
                sums[name] = sums[name] + of_piece if name in sums else of_piece
        return sums

    def _autocast(self) -> AbstractContextManager[Any]:
        kind, train = torch.device(self.device).type, self.config.train
        on_card = train.amp and kind == "cuda" and torch.cuda.is_bf16_supported()
        on_cpu = train.amp_on_cpu and kind == "cpu"
        return torch.autocast(kind, torch.bfloat16, enabled=on_card or on_cpu)

    def _labels(self, rows: np.ndarray) -> Labels:
        chosen = copied_to(self.device, torch.from_numpy(rows))

        def mos(target: Target) -> Tensor | None:
            return self.mos[target][chosen] if target in self.mos else None

        teacher = self.data.explanations
        explained = (
            None if teacher is None else copied_to(self.device, teacher[torch.from_numpy(rows)])
        )
        return Labels(mos(Target.QUALITY), mos(Target.CONSISTENCY), explained)

    def predict(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Scores and parts of rows by name, each (rows,), in eval mode."""
        with self._autocast():
            return predict(self.model, self.features, rows, self.device)

    def measures(self) -> dict[str, float]:
        """Measures of the model as it is on validation, and the gap of training to it."""
        found = self.validation_measures()
        return found | gap_measures(self._columns(self.data.train_subset), found)

    def validation_measures(self) -> dict[str, float]:
        """Measures on the validation part by name; undefined ones are left out.

        Raises:
            TrainingDiverged: A score is not finite.
        """
        columns = self._columns(self.data.validation)
        if not (np.isfinite(columns["q"]).all() and np.isfinite(columns["c"]).all()):
            raise TrainingDiverged(
                f"The scores are no longer numbers after epoch {self.state.epoch + 1}; try a"
                " smaller --lr."
                if self.state.history
                else "The scores are no numbers before training: the backbone's weights are bad."
            )
        return validation_measures(columns, self.config.train.selection_metric)

    def _columns(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        scales = self.model.residual_scales()
        columns = self.predict(rows) | {n: np.full(len(rows), v) for n, v in scales.items()}
        return columns | self.data.mos_columns(rows)


@torch.inference_mode()
def predict(
    model: QualityModel, features: Features, rows: np.ndarray, device: str
) -> dict[str, np.ndarray]:
    """Scores and parts of rows by name, each (rows,), in eval mode."""
    was_training = model.training
    model.eval()

    def attempt(at_once: int) -> dict[str, list[Tensor]]:
        chunks: dict[str, list[Tensor]] = {}
        for start in range(0, len(rows), at_once):
            output = model(features.batch(rows[start : start + at_once], device))
            for name, value in output.parts().items():
                chunks.setdefault(name, []).append(value)
        return chunks

    chunks, _ = in_pieces_that_fit(max(1, EVAL_BATCH // features.views), attempt)
    model.train(was_training)
    return {name: torch.cat(values).cpu().double().numpy() for name, values in chunks.items()}


def _require_finite(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise TrainingDiverged(f"The loss became {loss:g} in epoch {epoch}; try a smaller --lr.")


def _split_words(config: RunConfig, at_once: int) -> str:
    """The warning, given once, that batches are split."""
    loss = config.loss
    within = loss.w_plcc or loss.w_rank or loss.use_explanations
    beside = " PLCC, rank and explanation losses are taken within these parts." if within else ""
    return (
        f"warning: batches of {config.train.batch_size} do not fit into the memory of this device."
        f" Training goes on with {at_once} images at once, their gradients accumulated: the same"
        f" mean over the batch.{beside}"
    )


def probe_epochs(config: RunConfig) -> int:
    """Epochs in which the heads train alone before CLIP does: a share, but neither none nor all."""
    share, epochs = config.keep.probe_share, config.train.epochs
    return min(max(1, round(share * epochs)), epochs - 1) if share else 0
