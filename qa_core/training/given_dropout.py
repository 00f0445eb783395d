"""Dropout whose masks are drawn outside the module.

Under `vmap` a dropout would draw the masks of all models from one generator. With given masks each
model gets the ones that it would draw alone, from a generator of its own.
"""

import torch
from torch import Tensor, nn


class GivenDropout(nn.Module):
    """Dropout by a mask (rows, hidden) that is given, scaled by what it keeps."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The masked input (rows, hidden)."""
        return x * self.mask if self.training else x


def give_dropout(heads: nn.Module) -> dict[str, int]:
    """Replace every dropout by one whose mask is given; the hidden width of each by name."""
    hidden: dict[str, int] = {}
    for name, module in list(heads.named_modules()):
        if isinstance(module, nn.Sequential):
            for place, layer in enumerate(module):
                if isinstance(layer, nn.Dropout):
                    first = module[0]
                    assert isinstance(first, nn.Linear)
                    hidden[f"{name}.{place}"] = first.out_features
                    module[place] = GivenDropout()
    return hidden
