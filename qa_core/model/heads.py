"""Prediction heads: a bounded correction on a CLIP-based base, or direct prediction.

Heads read embeddings scaled by the square root of their width, so that components are of order
one. Every forward pass returns its named parts.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qa_core.model.texts import LEVELS, Anchors
from qa_core.settings.model import FusionInput, HeadConfig


@dataclass(frozen=True)
class HeadOutput:
    """Scores and their parts, each (batch,); parts that a head does not have are None.

    Attributes:
        q: Quality in [0, 1].
        c: Consistency in [0, 1].
        q_base: Base of the quality in [0, 1].
        q_delta: Unscaled correction in [-1, 1].
        c_base: Base of the consistency, about [0, 1].
        c_delta: Unscaled correction in [-1, 1].
    """

    q: Tensor
    c: Tensor
    q_base: Tensor | None = None
    q_delta: Tensor | None = None
    c_base: Tensor | None = None
    c_delta: Tensor | None = None


def fusion_width(embed_dim: int, inputs: tuple[FusionInput, ...]) -> int:
    """Width of the fused input of a consistency head."""
    return sum(1 if name == "cos" else embed_dim for name in inputs)


def fuse(img: Tensor, txt: Tensor, cos: Tensor, inputs: tuple[FusionInput, ...]) -> Tensor:
    """Fused input (batch, fusion_width) of embeddings (batch, embed_dim) and cos (batch,)."""
    root = math.sqrt(img.shape[-1])
    parts = {
        "img": root * img,
        "txt": root * txt,
        "cos": cos.unsqueeze(-1),
        "product": img.shape[-1] * img * txt,
    }
    return torch.cat([parts[name] for name in inputs], dim=-1)


class ResidualScale(nn.Module):
    """The largest correction: fixed, learnable within (0, 1), or growing with training progress.

    Args:
        value: The scale, in (0, 1]; where it starts if learnable, where it ends if a curriculum.
        schedule: `fixed`, `learnable` or `curriculum`.
        share: Share of training over which a curriculum grows from 0.
    """

    value: Tensor
    progress: Tensor

    def __init__(self, value: float, schedule: str, share: float):
        super().__init__()
        self.share = share
        self.register_buffer("value", torch.tensor(value), persistent=False)
        self.curriculum = schedule == "curriculum"
        inside = min(max(value, 1e-4), 1 - 1e-4)
        start = torch.tensor(math.log(inside / (1 - inside)))
        self.logit = nn.Parameter(start) if schedule == "learnable" else None
        self.register_buffer("progress", torch.tensor(0.0 if self.curriculum else 1.0))

    def set_progress(self, progress: float) -> None:
        """Tell how much of training has passed, in [0, 1]; only a curriculum listens."""
        if self.curriculum:
            self.progress.fill_(min(1.0, progress / self.share))

    def forward(self) -> Tensor:
        """The scale now, in [0, 1]."""
        if self.logit is not None:
            return torch.sigmoid(self.logit)
        return self.value * self.progress


class AffineCosine(nn.Module):
    """Consistency base a * (cos + 1) / 2 + b with learnable a (1 at the start) and b (0)."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(1.0))
        self.b = nn.Parameter(torch.tensor(0.0))

    def forward(self, cos: Tensor) -> Tensor:
        """Base (batch,) of cos (batch,)."""
        return self.a * (cos + 1) / 2 + self.b


def _mlp(width: int, hidden: int, dropout: float, zero_last: bool) -> nn.Sequential:
    last = nn.Linear(hidden, 1)
    if zero_last:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), last)


class ResidualHeads(nn.Module):
    """Base + scale * tanh correction, for both scores; training starts from the base."""

    def __init__(self, embed_dim: int, config: HeadConfig):
        super().__init__()
        self.inputs = config.fusion_inputs
        fused = fusion_width(embed_dim, config.fusion_inputs)
        self.q_base_head = nn.Linear(embed_dim, 1)
        self.q_delta_head = _mlp(embed_dim, embed_dim, config.dropout, zero_last=True)
        self.c_base_scale = AffineCosine()
        self.c_delta_head = _mlp(fused, embed_dim, config.dropout, zero_last=True)
        schedule, share = config.scale_schedule, config.curriculum_share
        self.residual_scale_q = ResidualScale(config.residual_scale_q, schedule, share)
        self.residual_scale_c = ResidualScale(config.residual_scale_c, schedule, share)

    def forward(
        self, img: Tensor, txt: Tensor, cos: Tensor, anchors: Anchors | None = None
    ) -> HeadOutput:
        """Scores of normalised embeddings (batch, embed_dim) and their cos (batch,)."""
        wide = math.sqrt(img.shape[-1]) * img
        q_base, c_base = self.bases(img, cos, anchors)
        q_delta = torch.tanh(self.q_delta_head(wide)).squeeze(-1)
        c_delta = torch.tanh(self.c_delta_head(fuse(img, txt, cos, self.inputs))).squeeze(-1)
        q = (q_base + self.residual_scale_q() * q_delta).clamp(0, 1)
        c = (c_base + self.residual_scale_c() * c_delta).clamp(0, 1)
        return HeadOutput(q, c, q_base, q_delta, c_base, c_delta)

    def bases(self, img: Tensor, cos: Tensor, anchors: Anchors | None) -> tuple[Tensor, Tensor]:
        """Bases (batch,) of quality and of consistency."""
        q_base = torch.sigmoid(self.q_base_head(math.sqrt(img.shape[-1]) * img)).squeeze(-1)
        return q_base, self.c_base_scale(cos)


class ExpectedLevel(nn.Module):
    """Expectation, in [0, 1], of the level of the text that fits an image.

    The softmax of an image's cosines with texts of five levels, and its expectation (Peng et al.,
    CVPRW 2024, equations 3 and 4).

    Args:
        logit_scale: The factor on cosines that pretraining learnt; it is learnt further.
    """

    levels: Tensor

    def __init__(self, logit_scale: float):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(logit_scale)))
        self.register_buffer("levels", torch.linspace(0, 1, LEVELS), persistent=False)

    def forward(self, img: Tensor, texts: Tensor) -> Tensor:
        """Expected level (batch,) of embeddings (batch, width).

        Args:
            img: Normalised embeddings of the images.
            texts: Of the five levels (batch, 5, width), or (5, width) for all images alike.
        """
        cosines = (img.unsqueeze(1) * texts).sum(dim=-1)  # (batch, 5)
        return (self.log_scale.exp() * cosines).softmax(dim=-1) @ self.levels


class AntonymHeads(ResidualHeads):
    """Residual heads whose bases are expectations over prompts from bad to perfect.

    Args:
        embed_dim: Width of the embeddings.
        config: The heads' configuration.
        logit_scale: The factor on cosines that pretraining learnt.
    """

    def __init__(self, embed_dim: int, config: HeadConfig, logit_scale: float):
        super().__init__(embed_dim, config)
        self.q_base_head = ExpectedLevel(logit_scale)
        self.c_base_scale = ExpectedLevel(logit_scale)

    def bases(self, img: Tensor, cos: Tensor, anchors: Anchors | None) -> tuple[Tensor, Tensor]:
        """Bases (batch,) of quality and of consistency."""
        assert anchors is not None, "these heads read levels beside the prompts"
        return self.q_base_head(img, anchors.quality), self.c_base_scale(img, anchors.matching)


class SimilarityBranch(nn.Module):
    """Logit s * cos + t of consistency, s and t (0 at the start) learnable.

    Args:
        s: Where s starts.
    """

    def __init__(self, s: float):
        super().__init__()
        self.s = nn.Parameter(torch.tensor(s))
        self.t = nn.Parameter(torch.tensor(0.0))

    def forward(self, cos: Tensor) -> Tensor:
        """Logit (batch,) of cos (batch,)."""
        return self.s * cos + self.t


class DirectHeads(nn.Module):
    """The traditional baseline: both scores straight from the embeddings."""

    def __init__(self, embed_dim: int, config: HeadConfig):
        super().__init__()
        self.inputs = config.fusion_inputs
        fused = fusion_width(embed_dim, config.fusion_inputs)
        self.q_head = nn.Linear(embed_dim, 1)
        self.c_head = _mlp(fused, embed_dim, config.dropout, zero_last=False)
        self.c_similarity = SimilarityBranch(5.0) if config.use_two_branch else None

    def forward(
        self, img: Tensor, txt: Tensor, cos: Tensor, anchors: Anchors | None = None
    ) -> HeadOutput:
        """Scores of normalised embeddings (batch, embed_dim) and their cos (batch,)."""
        q = torch.sigmoid(self.q_head(math.sqrt(img.shape[-1]) * img)).squeeze(-1)
        c = torch.sigmoid(self.c_head(fuse(img, txt, cos, self.inputs))).squeeze(-1)
        if self.c_similarity is not None:
            c = (c + torch.sigmoid(self.c_similarity(cos))) / 2
        return HeadOutput(q, c)


class MatchedDirectHeads(nn.Module):
    """Direct prediction with the inputs, the capacity and the start of `ResidualHeads`, unbounded.

    The control for what the bound alone earns: q = sigmoid(Linear(img) + MLP(img)) and
    c = sigmoid(s * cos + t + MLP(fused)), the last layer of each MLP zero at the start. With s = 2
    and t = 0, c starts at (cos + 1) / 2 to first order, as the residual's base does.
    """

    def __init__(self, embed_dim: int, config: HeadConfig):
        super().__init__()
        self.inputs = config.fusion_inputs
        fused = fusion_width(embed_dim, config.fusion_inputs)
        self.q_head = nn.Linear(embed_dim, 1)
        self.q_mlp = _mlp(embed_dim, embed_dim, config.dropout, zero_last=True)
        self.c_similarity = SimilarityBranch(2.0)
        self.c_mlp = _mlp(fused, embed_dim, config.dropout, zero_last=True)

    def forward(
        self, img: Tensor, txt: Tensor, cos: Tensor, anchors: Anchors | None = None
    ) -> HeadOutput:
        """Scores of normalised embeddings (batch, embed_dim) and their cos (batch,)."""
        wide = math.sqrt(img.shape[-1]) * img
        q = torch.sigmoid(self.q_head(wide) + self.q_mlp(wide)).squeeze(-1)
        on_top = self.c_mlp(fuse(img, txt, cos, self.inputs)).squeeze(-1)
        return HeadOutput(q, torch.sigmoid(self.c_similarity(cos) + on_top))
