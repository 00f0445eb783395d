"""The yardstick: the loop that is commonly written for this task, simple and honest.

Every epoch decodes and transforms every image and runs both towers, frozen or not, over the whole
context or, as loops on transformers do, no further than the longest prompt of the batch; frozen
weights get no gradient, so that autograd skips their backward pass. Written once and then left
alone, so that ratios against it keep their meaning; it imports nothing of this project, so that no
change elsewhere can reach it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize
from torch.utils.data import DataLoader, Dataset

ALL_BLOCKS = -1
"""Freeze both towers entirely."""


@dataclass(frozen=True)
class RatedFiles:
    """Rated images: files, prompts, and scores (n, 2) of quality and consistency in [0, 1]."""

    paths: Sequence[Path]
    prompts: Sequence[str]
    mos: np.ndarray


class RatedImages(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Image, token ids over the whole context, and both scores of a row."""

    def __init__(self, rated: RatedFiles, transform: Callable[[Any], Tensor], tokenizer: Any):
        self.rated, self.transform, self.tokenizer = rated, transform, tokenizer

    def __len__(self) -> int:
        return len(self.rated.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, Tensor]:
        image = self.transform(Image.open(self.rated.paths[row]).convert("RGB"))
        tokens = self.tokenizer([self.rated.prompts[row]])[0]
        return image, tokens, torch.tensor(self.rated.mos[row], dtype=torch.float32)


class ScoreModel(nn.Module):
    """CLIP with a base and a bounded correction for either score.

    Args:
        clip: open_clip's model.
        width: Of its embeddings.
        padded: Read a batch's prompts to the end of the longest, not the whole context.
        scale: Of the corrections.
    """

    def __init__(self, clip: Any, width: int, padded: bool = False, scale: float = 0.2):
        super().__init__()
        self.clip, self.padded, self.scale = clip, padded, scale
        self.q_base = nn.Linear(width, 1)
        self.q_delta = _mlp(width, width)
        self.c_affine = nn.Parameter(torch.tensor([1.0, 0.0]))
        self.c_delta = _mlp(2 * width + 1, width)

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Scores (batch, 2) in [0, 1]."""
        image = normalize(self.clip.encode_image(images), dim=-1)
        encode_text = partial(encode_padded, self.clip) if self.padded else self.clip.encode_text
        text = normalize(encode_text(tokens), dim=-1)
        cos = (image * text).sum(dim=-1, keepdim=True)
        wide = image.shape[-1] ** 0.5
        image, text = wide * image, wide * text
        q = torch.sigmoid(self.q_base(image)) + self.scale * torch.tanh(self.q_delta(image))
        c = self.c_affine[0] * (cos + 1) / 2 + self.c_affine[1]
        c = c + self.scale * torch.tanh(self.c_delta(torch.cat([image, text, cos], dim=-1)))
        return torch.cat([q, c], dim=-1).clamp(0, 1)


def encode_padded(clip: Any, tokens: Tensor) -> Tensor:
    """Text embeddings (batch, width) of ids that end with the largest, read up to the last end."""
    ends = tokens.argmax(dim=-1)
    length = int(ends.max()) + 1
    x = clip.token_embedding(tokens[:, :length]) + clip.positional_embedding[:length]
    x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask[:length, :length]))
    return x[torch.arange(len(x)), ends] @ clip.text_projection


def _mlp(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.1), nn.Linear(hidden, 1))


def freeze(clip: Any, blocks: int) -> None:
    """Freeze stem and first blocks of each tower; 0 nothing, `ALL_BLOCKS` everything."""
    clip.logit_scale.requires_grad_(False)
    if blocks == ALL_BLOCKS:
        clip.requires_grad_(False)
    elif blocks:
        visual = clip.visual
        stems = [visual.conv1, visual.class_embedding, visual.positional_embedding, visual.ln_pre]
        stems += [clip.token_embedding, clip.positional_embedding]
        towers = (visual.transformer.resblocks, clip.transformer.resblocks)
        for part in (*stems, *towers[0][:blocks], *towers[1][:blocks]):
            part.requires_grad_(False)


class PlainLoop:
    """Trains and validates, an epoch at a time.

    Args:
        clip: open_clip's model.
        transform: Its transform of a PIL image.
        tokenizer: Its tokenizer.
        train: What to learn from.
        validation: What to score.
        blocks: Frozen blocks of each tower, as in `freeze`.
        padded: As in `ScoreModel`.
        lr: Rate of CLIP; the heads have 1e-3.
    """

    def __init__(
        self,
        clip: Any,
        transform: Callable[[Any], Tensor],
        tokenizer: Any,
        train: RatedFiles,
        validation: RatedFiles,
        blocks: int,
        padded: bool = False,
        lr: float = 3e-5,
        batch_size: int = 32,
    ):
        freeze(clip, blocks)
        self.model = ScoreModel(clip, clip.visual.output_dim, padded)
        parts = {"clip": [], "heads": []}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                parts["clip" if name.startswith("clip.") else "heads"].append(parameter)
        groups = [{"params": parts["clip"], "lr": lr}, {"params": parts["heads"], "lr": 1e-3}]
        self.optimizer = torch.optim.AdamW([group for group in groups if group["params"]])
        images = RatedImages(train, transform, tokenizer)
        held_out = RatedImages(validation, transform, tokenizer)
        self.train_loader = DataLoader(images, batch_size, shuffle=True)
        self.validation_loader = DataLoader(held_out, batch_size)

    def epoch(self) -> tuple[float, float]:
        """Train once over all images; SROCC of quality and consistency on validation."""
        self.model.train()
        for images, tokens, mos in self.train_loader:
            loss = mse_loss(self.model(images, tokens), mos)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
        return self.validate()

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        """SROCC of quality and consistency on validation."""
        self.model.eval()
        scored = [(self.model(images, ids), mos) for images, ids, mos in self.validation_loader]
        scores = torch.cat([score for score, _ in scored]).numpy()
        mos = torch.cat([mos for _, mos in scored]).numpy()
        q, c = (float(np.asarray(spearmanr(scores[:, k], mos[:, k]))[0]) for k in (0, 1))
        return q, c
