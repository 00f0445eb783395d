"""Adapters: small networks inside frozen blocks, which train in their place.

Houlsby et al., "Parameter-Efficient Transfer Learning for NLP" (ICML 2019), section 2: one behind
attention and one behind the MLP, each before its output is added to the residual stream.
"""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.functional import gelu

_ENDS = (("ln_1", "ls_1", "ls_2"), ("norm1", "drop_path1", "drop_path2"))
"""Names of a block's first norm and of what attention and MLP pass last, of open_clip and timm."""


class Adapter(nn.Module):
    """x plus a bottleneck of it; the way up starts at zero, so that training starts from x.

    Args:
        width: Of x.
        bottleneck: Of the bottleneck.
    """

    def __init__(self, width: int, bottleneck: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Adapted output (..., width) of a part of a block."""
        return x + self.up(gelu(self.down(x)))


def add_adapters(blocks: Iterable[nn.Module], reduction: int) -> int:
    """Put two adapters into every transformer block found in these; returns how many blocks.

    Args:
        blocks: Blocks of a tower, or stages that hold blocks.
        reduction: Width of a block over that of its bottlenecks; 12 gives the paper's 64 of 768.
    """
    found = [
        (inner, norm.normalized_shape[0], ends)
        for block in blocks
        for inner in block.modules()
        for name, *ends in _ENDS
        if isinstance(norm := getattr(inner, name, None), nn.LayerNorm)
        and all(isinstance(getattr(inner, end, None), nn.Module) for end in ends)
    ]
    for inner, width, ends in found:
        for end in ends:
            last, adapter = getattr(inner, end), Adapter(width, max(1, width // reduction))
            # open_clip scales last, timm drops whole paths last, adapters included
            parts = (adapter, last) if end.startswith("drop") else (last, adapter)
            setattr(inner, end, nn.Sequential(*parts))
    return len(found)
