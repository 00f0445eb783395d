"""Refinement of a coarse consistency score by a small transformer (direct mode only)."""

import math

import torch
from torch import Tensor, nn

from qa_core.settings.model import RefinementConfig


class Refinement(nn.Module):
    """Reads [img, txt, coarse c] as three tokens and predicts a correction of c.

    The correction is scale * tanh(.) with a learnable scale of 0.1 at the start; its last layer
    starts at zero, so that training starts from the coarse score.
    """

    def __init__(self, embed_dim: int, config: RefinementConfig, dropout: float):
        super().__init__()
        width = config.refinement_dim
        self.image_in = nn.Linear(embed_dim, width)
        self.text_in = nn.Linear(embed_dim, width)
        self.score_in = nn.Linear(1, width)
        layer = nn.TransformerEncoderLayer(
            width, config.refinement_heads, 2 * width, dropout, "gelu", batch_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, config.refinement_layers, enable_nested_tensor=False
        )
        self.out = nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.scale = nn.Parameter(torch.tensor(0.1))

    def forward(self, img: Tensor, txt: Tensor, coarse: Tensor) -> Tensor:
        """Correction (batch,) to add to the coarse consistency (batch,)."""
        root = math.sqrt(img.shape[-1])
        tokens = [
            self.image_in(root * img),
            self.text_in(root * txt),
            self.score_in(coarse.unsqueeze(-1)),
        ]
        read = self.encoder(torch.stack(tokens, dim=1))  # (batch, 3, width)
        return self.scale * torch.tanh(self.out(read[:, 2])).squeeze(-1)
