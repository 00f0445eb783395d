"""Model soup: the mean of the weights of several trainings that began alike.

Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy
without increasing inference time" (ICML 2022), section 2, the uniform soup. The trainings differ in
the order of the images and in dropout; heads begin alike too, since the mean of two that began
apart would be that of two unlike models.
"""

import torch
from torch import Tensor

from qa_core.training.trainer_state import TrainerState


def mean_state(state: TrainerState) -> dict[str, Tensor]:
    """Mean of the best weights of all trainings, by name; counts are the last training's."""
    states = [*state.ingredients, state.best_state]
    return {
        name: torch.stack([one[name] for one in states]).mean(dim=0)
        if last.is_floating_point()
        else last
        for name, last in state.best_state.items()
    }
