"""What one run found: its final measures, and those that have no value, with the reason."""

import contextlib
import resource
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from qa_core.data.splits import Split
from qa_core.features.workspace import Workspace
from qa_core.measures.catalogue import GAP, GAP_LAST, SROCC
from qa_core.measures.evaluation import score_predictions
from qa_core.model.freezing import count_parameters
from qa_core.system.device import is_card
from qa_core.targets import TARGETS
from qa_core.training.retention import measure_retention
from qa_core.training.trainer import Trainer

_OF_THE_ROW = ("name", "prompt", "group", "generator", "mos_quality", "mos_consistency")


@dataclass
class Findings:
    """Measures of a run that is being measured.

    Attributes:
        metrics: Values by name.
        undefined: Reasons by the names that have no value.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    def add_training(self, trainer: Trainer, best: dict[str, float], device: str) -> None:
        """Add what training showed; `best` are the chosen epoch's measures on validation."""
        state, model = trainer.state, trainer.model
        for target in TARGETS:
            if SROCC.curve(target) in best:
                self.metrics[f"best_{SROCC.curve(target)}"] = best[SROCC.curve(target)]
            for gap, measures in ((GAP, best), (GAP_LAST, state.history[-1])):
                self._put_gap(gap.logged(target), measures.get(GAP.curve(target)))
        epochs = state.history[1:]
        self.metrics |= {
            "best_epoch": state.best_epoch,
            "best_selection": best["selection"],
            "epochs_run": state.epoch,
            "seconds_per_epoch": float(np.mean([m["seconds_per_epoch"] for m in epochs])),
            "trainable_parameters": count_parameters(model, trainable_only=True),
            "total_parameters": count_parameters(model),
            "peak_memory_mb": peak_memory_mb(device),
        }
        if trainer.rows_at_once < trainer.config.train.batch_size:
            self.metrics["rows_at_once"] = trainer.rows_at_once

    def add_test(self, trainer: Trainer, workspace: Workspace, split: Split) -> pd.DataFrame:
        """Read the test part, once, add its measures and the retention; returns its predictions."""
        frame = workspace.table.frame.iloc[split.test]
        predictions = frame[[column for column in _OF_THE_ROW if column in frame]].copy()
        predictions.insert(0, "row", workspace.rows[split.test])
        scores = trainer.predict(split.test) | trainer.model.residual_scales()
        for name, values in scores.items():
            predictions[name] = values
        measures, undefined = score_predictions(predictions)
        self.metrics |= {f"test_{name}": value for name, value in measures.items()}
        self.undefined |= {f"test_{name}": reason for name, reason in undefined.items()}
        kept, not_told = measure_retention(trainer.model, trainer.config, workspace, split)
        self.metrics |= kept
        self.undefined |= not_told
        return predictions.reset_index(drop=True)

    def _put_gap(self, name: str, gap: float | None) -> None:
        if gap is None:
            self.undefined[name] = "no such score, or a constant prediction"
        else:
            self.metrics[name] = float(gap)


def reset_peak_memory(device: str) -> None:
    """Start measuring peak memory anew, where the system allows it."""
    if is_card(device):
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # Linux only; elsewhere the peak is the process's own
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: str) -> float:
    """Peak memory in MiB since it was reset: of the card, or of the process."""
    if is_card(device):
        return torch.cuda.max_memory_allocated(device) / 2**20
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
