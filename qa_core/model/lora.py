"""Low-rank adaptation: frozen matrices, and changes of low rank that train in their place.

It uses torch's own parametrisations, so that whatever reads a weight gets the changed one: a
module's forward pass, torch's fused attention, and this project's own. (peft 0.21 cannot do that
here. Its wrapper of `nn.MultiheadAttention` adds the change to the frozen weights before each pass
and takes it off afterwards, rounding them every time, and code that reads the weights directly
misses the change.)
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import (
    is_parametrized,
    register_parametrization,
    remove_parametrizations,
)

ALPHA = 16
"""A change is scaled by `ALPHA` / rank, so that the best rate hardly depends on the rank."""


class LowRankChange(nn.Module):
    """A weight plus B A, scaled; B starts at zero, so that training starts from the weight.

    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (ICLR 2022), section 4.1. A
    convolution's kernel (out, ...) counts as a matrix of `out` rows.

    Args:
        weight: The frozen weight (out, ...).
        rank: Rank of the change.
    """

    def __init__(self, weight: Tensor, rank: int):
        super().__init__()
        rows, columns = weight.flatten(1).shape
        self.scale = ALPHA / rank
        self.a = nn.Parameter(torch.empty(rank, columns, device=weight.device))
        self.b = nn.Parameter(torch.zeros(rows, rank, device=weight.device))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight, in the shape of the frozen one."""
        return weight + (self.scale * self.b @ self.a).view_as(weight)


def add_low_rank_changes(blocks: Iterable[nn.Module], rank: int) -> None:
    """Give every matrix inside these frozen blocks a change of low rank, which trains."""
    for block in blocks:
        found = [
            (module, name, weight)
            for module in block.modules()
            for name, weight in module.named_parameters(recurse=False)
            if weight.ndim >= 2
        ]
        for module, name, weight in found:
            register_parametrization(module, name, LowRankChange(weight, rank))


def fold_low_rank_changes(model: nn.Module) -> None:
    """Add every change of low rank to its weight for good, so that the names are CLIP's again."""
    for module in list(model.modules()):
        if is_parametrized(module):
            for name in list(module.parametrizations):  # pyright: ignore[reportArgumentType]
                remove_parametrizations(module, name, leave_parametrized=True)
