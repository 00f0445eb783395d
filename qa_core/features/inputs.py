"""Images and prompts of a table on their way into the towers, batch by batch."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qa_core.backbones.tower import EMBEDDING, TowerEntry
from qa_core.data.image_store import ImagesOnDemand
from qa_core.model.quality_model import Batch
from qa_core.model.texts import PROMPTS_ALONE, PromptTexts
from qa_core.system.device import copied_to, is_card

ImageRows = np.ndarray | ImagesOnDemand | Tensor
"""Anything that gives rows by index."""

DRAWN_WINDOWS = 4
"""Windows of an image that a training step sees beside the whole."""


@dataclass(frozen=True)
class Drawn:
    """Random crops of images, of which a training step sees one each.

    Attributes:
        images: Pixels, tokens or embeddings (m, crops, ...) of the images that have any.
        place_of: Where each image of the table is among them (n,).
    """

    images: ImageRows
    place_of: np.ndarray


@dataclass(frozen=True)
class Features:
    """All images and prompts of a table, ready to enter the towers at one place.

    Attributes:
        images: Pixels, tokens or embeddings (n, ...), in memory, on disk or on the device; where an
            image has several views, (n, views, ...).
        texts: Token ids, tokens or embeddings (texts, ...) of what is read of the prompts.
        token_ids: Token ids of the texts (texts, longest).
        lengths: How many tokens each text needs (texts,).
        prompt_of: Which distinct prompt each image has (n,).
        entry: Where they enter.
        views: Views of each image.
        read: Which texts those are.
        drawn: What training steps see instead of the images; None where they see these.
    """

    images: ImageRows
    texts: np.ndarray
    token_ids: Tensor
    lengths: Tensor
    prompt_of: np.ndarray
    entry: TowerEntry
    views: int
    read: PromptTexts = PROMPTS_ALONE
    drawn: Drawn | None = None

    def batch(
        self,
        rows: np.ndarray,
        device: str,
        draw: bool = False,
        drawn: Tensor | None = None,
    ) -> Batch:
        """The batch of these rows, texts cut to the longest of them.

        Args:
            rows: Rows of the table.
            device: Where the batch goes.
            draw: Take pictures at random, as training does: a crop, or some of several views.
                Otherwise the image itself, in all its views.
            drawn: Or take these pictures (rows, pictures).
        """
        prompts, text_of = np.unique(self.prompt_of[rows], return_inverse=True)
        kept = self.read.rows(prompts, len(self.texts))
        chosen, texts = torch.from_numpy(kept), self.texts[kept]
        token_ids, longest = self.token_ids[chosen], int(self.lengths.numpy()[kept].max())
        if self.entry.text != EMBEDDING:
            texts, token_ids = texts[:, :longest], token_ids[:, :longest]
        drawn = self.draw(len(rows)) if draw else drawn
        images, views = self._pictures(rows, drawn)
        parts = (images, torch.from_numpy(texts), token_ids, torch.from_numpy(text_of))
        moved = (copied_to(device, part) for part in parts)
        floats = (p.float() if p.dtype == torch.half else p for p in moved)
        return Batch(*floats, entry=self.entry, views=views, drawn=drawn)

    def draw(self, rows: int, generator: torch.Generator | None = None) -> Tensor | None:
        """Which pictures (rows, pictures) a training step sees; None where there is one each."""
        if self.drawn is not None:
            return torch.randint(self.drawn.images.shape[1], (rows, 1), generator=generator)
        return draw_views(rows, self.views, generator) if self.views > 1 else None

    def _pictures(self, rows: np.ndarray, drawn: Tensor | None) -> tuple[Tensor, int]:
        """Images (rows, ...), or (rows, pictures, ...) where they are several; and how many."""
        if drawn is None:
            return take(self.images, rows), self.views
        if self.drawn is None:
            return take(self.images, rows, drawn), drawn.shape[1]
        return take(self.drawn.images, self.drawn.place_of[rows], drawn)[:, 0], 1


def draw_views(rows: int, views: int, generator: torch.Generator | None = None) -> Tensor:
    """Views (rows, 1 + drawn) that a training step sees: the whole, and some windows at random."""
    order = torch.rand(rows, views - 1, generator=generator).argsort(dim=1)
    whole = torch.zeros(rows, 1, dtype=torch.long)
    return torch.cat([whole, 1 + order[:, :DRAWN_WINDOWS]], dim=1)


def take(source: ImageRows, rows: np.ndarray, pictures: Tensor | None = None) -> Tensor:
    """Some rows as a tensor, on the device where the source is; or some pictures of each row.

    Args:
        source: Images (n, ...), or (n, pictures, ...).
        rows: Which.
        pictures: Which of their pictures (rows, k); None takes rows as they are.
    """
    if pictures is None:
        if isinstance(source, Tensor):
            return source[copied_to(str(source.device), torch.from_numpy(rows))]
        return torch.from_numpy(source[rows])
    if isinstance(source, ImagesOnDemand):
        return torch.from_numpy(source[rows])[torch.arange(len(rows))[:, None], pictures]
    if isinstance(source, Tensor):
        device = str(source.device)
        chosen = copied_to(device, torch.from_numpy(rows)[:, None])
        return source[chosen, copied_to(device, pictures)]
    return torch.from_numpy(source[rows[:, None], pictures.numpy()])


def resident(images: np.ndarray | ImagesOnDemand, device: str) -> ImageRows:
    """The rows on the GPU where they take less than half of what is free; else as they are."""
    if not is_card(device) or isinstance(images, ImagesOnDemand):
        return images
    if images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return images
    return torch.from_numpy(np.array(images)).to(device)
