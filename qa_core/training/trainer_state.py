"""What a trainer holds beside model and optimizer: the rows it may see, and how far it has come."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from qa_core.features.inputs import Features
from qa_core.targets import Target


@dataclass(frozen=True)
class TrainingData:
    """The rows a run may see, with features and labels of the whole table.

    Attributes:
        features: Inputs of all rows.
        probe_features: Inputs while nothing of CLIP trains; None where it trains from the start.
        anchors: Embeddings of all rows by the pretrained CLIP, where training is drawn to them.
        mos: MOS in [0, 1] of all rows by target, NaN where an image has none; a target that the
            table lacks is left out.
        explanations: Teacher embeddings (n, embed_dim), or None.
        train: Rows to learn from.
        train_subset: Fixed rows of `train`, as many as `validation`, for the gap.
        validation: Rows that choose the checkpoint.
    """

    features: Features
    probe_features: Features | None
    mos: dict[Target, np.ndarray]
    explanations: Tensor | None
    train: np.ndarray
    train_subset: np.ndarray
    validation: np.ndarray
    anchors: Features | None = None

    def mos_columns(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The scores of some rows, `mos_T` for each target T."""
        return {target.mos: values[rows] for target, values in self.mos.items()}


@dataclass
class TrainerState:
    """What a run needs to resume after an epoch, besides model and optimizer.

    `improved_epoch` is the last epoch that raised the selection metric by more than
    `--early_stopping_min_delta`; early stopping counts from it. Of a soup, `ingredients` are the
    best weights of the trainings that are done, and `begun` is the epoch after which the present
    one began, whose own the best epoch is.
    """

    epoch: int = 0
    improved_epoch: int = 0
    improved_selection: float = -math.inf
    best_epoch: int = 0
    best_selection: float = -math.inf
    best_state: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    begun: int = 0
    ingredients: list[dict[str, Tensor]] = field(default_factory=list)

    def begin_again(self) -> None:
        """Put the best weights aside, to begin the next training of a soup."""
        self.ingredients.append(self.best_state)
        self.begun = self.improved_epoch = self.epoch
        self.improved_selection = self.best_selection = -math.inf

    def record(
        self, measures: dict[str, float], least: float, state: Callable[[], dict[str, Tensor]]
    ) -> bool:
        """Add an epoch's measures; True, its state kept, where it is the best.

        Args:
            measures: Its measures by name.
            least: By how much `selection` has to rise to count as an improvement.
            state: Gives a copy of what training changes.
        """
        self.epoch += 1
        self.history.append(measures)
        if measures["selection"] > self.improved_selection + least:
            self.improved_epoch, self.improved_selection = self.epoch, measures["selection"]
        is_best = measures["selection"] > self.best_selection
        if is_best:
            self.best_epoch, self.best_selection = self.epoch, measures["selection"]
            self.best_state = state()
        return is_best
