"""Prompts from bad to perfect, and a score as the expectation over them.

Peng et al., "AIGC Image Quality Assessment via Image-Prompt Correspondence" (CVPRW 2024), equations
3 and 4: the softmax of an image's cosines with prompts of five levels, and its expectation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

MATCHES = ("badly", "poorly", "fairly", "well", "perfectly")
QUALITIES = ("bad", "poor", "fair", "good", "perfect")
LEVELS = len(MATCHES)

QUALITY_PROMPTS = tuple(f"a photo of {word} quality" for word in QUALITIES)


@dataclass(frozen=True)
class Anchors:
    """Normalised embeddings of the prompts from bad to perfect.

    Attributes:
        matching: Of each image's own prompt (batch, 5, embed_dim).
        quality: Of quality, the same for all images (5, embed_dim).
    """

    matching: Tensor
    quality: Tensor


def with_antonyms(prompts: Sequence[str]) -> list[str]:
    """The prompts, then five levels of matching of each, then five of quality."""
    matching = [f"a photo that {word} matches '{p}'" for p in prompts for word in MATCHES]
    return [*prompts, *matching, *QUALITY_PROMPTS]


def count_prompts(n_texts: int) -> int:
    """How many prompts make so many texts by `with_antonyms`."""
    return (n_texts - LEVELS) // (1 + LEVELS)


def rows_with_antonyms(prompts: np.ndarray, n_texts: int) -> np.ndarray:
    """Which of all prompts' texts belong to some prompts (n,), in the order of `with_antonyms`."""
    n_prompts, levels = count_prompts(n_texts), np.arange(LEVELS)
    matching = (n_prompts + prompts[:, None] * LEVELS + levels).ravel()
    return np.concatenate([prompts, matching, n_texts - LEVELS + levels])


def read_anchors(texts: Tensor, text_of: Tensor) -> Anchors:
    """Anchors of a batch, from the embeddings (texts, embed_dim) of its texts.

    Args:
        texts: In the order of `with_antonyms`.
        text_of: Which of the prompts each image has (batch,).
    """
    n_prompts = count_prompts(len(texts))
    matching = texts[n_prompts:-LEVELS].view(n_prompts, LEVELS, -1)
    return Anchors(matching[text_of], texts[-LEVELS:])


class ExpectedLevel(nn.Module):
    """Expectation, in [0, 1], of the level of the prompt that fits an image.

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
            texts: Of the five prompts (batch, 5, width), or (5, width) for all images alike.
        """
        cosines = (img.unsqueeze(1) * texts).sum(dim=-1)  # (batch, 5)
        return (self.log_scale.exp() * cosines).softmax(dim=-1) @ self.levels
