"""Explanations as a teacher: predict the text embedding of what people say is wrong."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from qa_core.model.heads import fuse, fusion_width


class ExplanationHead(nn.Module):
    """Maps [img, txt, cos] to the explanation's embedding in CLIP's text space."""

    def __init__(self, embed_dim: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(fusion_width(embed_dim, ("img", "txt", "cos")), 2 * embed_dim),
            nn.GELU(),
            nn.Linear(2 * embed_dim, embed_dim),
        )

    def forward(self, img: Tensor, txt: Tensor, cos: Tensor) -> Tensor:
        """L2-normalised embedding (batch, embed_dim)."""
        return normalize(self.layers(fuse(img, txt, cos, ("img", "txt", "cos"))), dim=-1)


def explanation_loss(predicted: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 - cosine over the rows that have an explanation, in [0, 2]; 0 without any.

    Args:
        predicted: Normalised predictions (batch, embed_dim).
        teacher: Embeddings of the pretrained text tower (batch, embed_dim); rows of zeros have
            no explanation.
    """
    present = teacher.abs().sum(dim=-1) > 0
    if not bool(present.any()):
        return torch.zeros((), device=predicted.device)
    return (1 - (predicted * teacher).sum(dim=-1))[present].mean()
