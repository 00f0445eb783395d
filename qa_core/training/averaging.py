"""An exponential moving average of what training changes, with which a model can be evaluated."""

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """The average of parameters, and of batch norms' statistics, over the steps of training.

    Early on the decay is (1 + steps) / (10 + steps) where that is smaller, so that the start is
    soon forgotten.

    Args:
        parameters: What changes.
        decay: Share of the average that a step keeps, in (0, 1).
    """

    def __init__(self, parameters: Iterable[Tensor], decay: float):
        self.parameters, self.decay = list(parameters), decay
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        # the library's function takes lists of tensors, which parameters are
        now: list[Tensor] = [parameter.data for parameter in self.parameters]
        get_ema_multi_avg_fn(decay)(self.average, now, self.steps)  # pyright: ignore[reportArgumentType]

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """A context in which the model has the average as its weights."""
        weights = [parameter.data for parameter in self.parameters]
        self._set(self.average)
        try:
            yield
        finally:
            self._set(weights)

    def _set(self, values: Iterable[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.data = value

    def state(self) -> dict[str, object]:
        """What `load` needs to go on."""
        return {"steps": self.steps, "average": [value.cpu() for value in self.average]}

    def load(self, state: dict[str, object]) -> None:
        """Go on from a state."""
        values = state["average"]
        assert isinstance(values, list) and isinstance(state["steps"], int)
        for own, value in zip(self.average, values, strict=True):
            own.copy_(value)
        self.steps = state["steps"]
