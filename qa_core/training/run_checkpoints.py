"""The files of one run: the checkpoint of its best epoch, and its last state to resume from."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from qa_core.config import RunConfig
from qa_core.errors import UserError
from qa_core.features.workspace import Workspace
from qa_core.model.checkpoint import read_checkpoint, save_checkpoint
from qa_core.model.quality_model import QualityModel
from qa_core.modes import checkpoint_name, mode_name
from qa_core.training.identity import library_versions
from qa_core.training.trainer import Trainer
from qa_core.training.trainer_state import TrainerState


def describe(
    config: RunConfig,
    workspace: Workspace,
    model: QualityModel,
    whole: bool,
    trained: dict[str, Tensor] | None = None,
) -> dict[str, Any]:
    """A checkpoint's content: the weights and all that is needed to use them.

    Args:
        config: A resolved configuration.
        workspace: Table, images and backbone that the model was trained with.
        model: The model.
        whole: All weights, or only those that training changed.
        trained: Weights to save in place of the model's trained ones.
    """
    if whole:
        state = dict(model.state_dict()) | (trained or {})
    else:
        state = model.trained_state() if trained is None else trained
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


SHARE, CHEAP_S = 0.05, 0.5
"""Files are written after an epoch if that took less than this share of the time since they were
written last, or less than so many seconds. All of ViT-L-14 with its optimizer takes 7 GB."""


@dataclass
class RunCheckpoints:
    """Where one run keeps its states, and when it writes them.

    Attributes:
        config: The run's configuration.
        workspace: Its data and backbone.
        trainer: Holds its model and state.
        identity: Says which run a last state belongs to.
        folder: Where the files go; None writes none.
        standalone: The best checkpoint holds the whole model, and the last state lies beside it;
            otherwise nothing is written before the end.
        saved_best: Epoch of the best checkpoint that is written.
        saved_last: Epoch of the last state that is written.
    """

    config: RunConfig
    workspace: Workspace
    trainer: Trainer
    identity: str
    folder: Path | None
    standalone: bool
    saved_best: int = 0
    saved_last: int = 0
    _took_s: float = 0.0
    _ended: float = field(default_factory=time.monotonic)

    @property
    def best(self) -> Path | None:
        """Path of the best epoch's checkpoint."""
        return None if self.folder is None else self.folder / checkpoint_name(self.config)

    @property
    def last(self) -> Path | None:
        """Path of the last state, to go on from; None where none is kept."""
        if self.best is None or not self.standalone:
            return None
        return self.best.with_name(self.best.name.replace("_best", "_last"))

    def after_epoch(self) -> Path | None:
        """Write what is new, where that is worth its time; the best checkpoint if it was new."""
        since = time.monotonic() - self._ended
        is_due = self._took_s < max(CHEAP_S, SHARE * since)
        return self._write() if self.last is not None and is_due else None

    def _write(self) -> Path | None:
        assert self.last is not None
        started, before = time.monotonic(), self.saved_best
        self.save_best_epoch()
        save_checkpoint(self.last, self._last_state())
        self.saved_last = self.trainer.state.epoch
        self._ended = time.monotonic()
        self._took_s = self._ended - started
        return self.best if self.saved_best != before else None

    def save_best_epoch(self) -> None:
        """Write the checkpoint of the best epoch, unless it is there."""
        state = self.trainer.state
        if state.best_epoch != self.saved_best:
            self.save_best(state.best_epoch, state.history[state.best_epoch], state.best_state)
            self.saved_best = state.best_epoch

    def save_best(
        self, epoch: int, measures: dict[str, float], trained: dict[str, Tensor] | None = None
    ) -> None:
        """Write the best checkpoint from the model, or from `trained` in place of its weights."""
        if self.best is not None:
            model = self.trainer.model
            content = describe(self.config, self.workspace, model, self.standalone, trained)
            save_checkpoint(self.best, content | {"epoch": epoch, "measures": measures})

    def resume(self, path: Path) -> None:
        """Go on from the last state in a file.

        Raises:
            UserError: It belongs to another run.
        """
        content = read_checkpoint(path)
        if content.get("identity") != self.identity:
            flat, there = self.config.flat(), content.get("config", {})
            changed = ", ".join(f"--{name}" for name in there if there[name] != flat.get(name))
            raise UserError(
                f"{path} belongs to another run: data, split, seed, versions and all flags must be"
                f" the same to go on from it{f'; not so: {changed}' if changed else ''}."
            )
        trainer = self.trainer
        trainer.model.load_state_dict(content["state"], strict=False)
        trainer.state = TrainerState(**content["progress"])
        if trainer.state.epoch and not trainer.state.best_state:
            trainer.state.best_state = trainer.model.trained_state()
        trainer.enter_phase(trainer.state.epoch)
        trainer.optimizer.load_state_dict(content["optimizer"])
        if trainer.average is not None:
            trainer.average.load(content["average"])
        if trainer.state.best_epoch and self.last is not None:
            self._write()  # the files so far may lie in another folder

    def kept_words(self) -> str:
        """A sentence on the checkpoints that a diverged run has left."""
        if self.last is None:
            return ""
        state = self.trainer.state
        if not state.epoch:
            return " No epoch was finished, so there is no checkpoint."
        best = f"the best so far (epoch {state.best_epoch}) {self.best}"
        last = f"a good one to go on from (epoch {self.saved_last}) {self.last}"
        return f" Kept: {', '.join([best, last] if state.best_epoch else [last])}."

    def _last_state(self) -> dict[str, Any]:
        average, progress = self.trainer.average, dict(vars(self.trainer.state))
        if average is None and progress["best_epoch"] == progress["epoch"]:
            progress["best_state"] = {}  # the same weights as `state`
        return {
            "identity": self.identity,
            "config": self.config.flat(),
            "state": self.trainer.model.trained_state(),
            "optimizer": self.trainer.optimizer.state_dict(),
            "average": average.state() if average else None,
            "progress": progress,
        }
