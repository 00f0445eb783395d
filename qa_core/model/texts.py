"""The texts that heads read for a prompt: the prompt, and optionally five levels, bad to perfect.

The levels are those of Peng et al., "AIGC Image Quality Assessment via Image-Prompt Correspondence"
(CVPRW 2024): how well an image matches its prompt, and how good it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from qa_core.settings.model import HeadConfig

MATCHES = ("badly", "poorly", "fairly", "well", "perfectly")
QUALITIES = ("bad", "poor", "fair", "good", "perfect")
LEVELS = len(MATCHES)

QUALITY_PROMPTS = tuple(f"a photo of {word} quality" for word in QUALITIES)


@dataclass(frozen=True)
class Anchors:
    """Normalised embeddings of the levels from bad to perfect.

    Attributes:
        matching: Of matching each image's own prompt (batch, 5, embed_dim).
        quality: Of quality, the same for all images (5, embed_dim).
    """

    matching: Tensor
    quality: Tensor


@dataclass(frozen=True)
class PromptTexts:
    """The texts of several prompts: the prompts, then five levels of each, then five of quality.

    Attributes:
        levels: Whether the levels are there beside the prompts.
    """

    levels: bool = False

    def of(self, prompts: Sequence[str]) -> list[str]:
        """The texts of these prompts."""
        if not self.levels:
            return list(prompts)
        matching = [f"a photo that {word} matches '{p}'" for p in prompts for word in MATCHES]
        return [*prompts, *matching, *QUALITY_PROMPTS]

    def rows(self, prompts: np.ndarray, n_texts: int) -> np.ndarray:
        """Numbers, in order, of the texts that belong to some prompts, among all `n_texts`."""
        if not self.levels:
            return prompts
        levels = np.arange(LEVELS)
        matching = (_count_prompts(n_texts) + prompts[:, None] * LEVELS + levels).ravel()
        return np.concatenate([prompts, matching, n_texts - LEVELS + levels])

    def anchors(self, texts: Tensor, text_of: Tensor) -> Anchors | None:
        """The levels of a batch's images, from all its texts (texts, embed_dim); None without any.

        Args:
            texts: Embeddings, in the order of `of`.
            text_of: Which of the prompts each image has (batch,).
        """
        if not self.levels:
            return None
        n_prompts = _count_prompts(len(texts))
        matching = texts[n_prompts:-LEVELS].view(n_prompts, LEVELS, -1)
        return Anchors(matching[text_of], texts[-LEVELS:])


PROMPTS_ALONE = PromptTexts()


def texts_read_by(head: HeadConfig) -> PromptTexts:
    """Which texts the heads of a configuration read for a prompt."""
    return PromptTexts(levels=head.antonym_prompts)


def _count_prompts(n_texts: int) -> int:
    return (n_texts - LEVELS) // (1 + LEVELS)
