"""A pretrained CLIP, opened up: each tower as stem, blocks and tail.

A run can start from the tokens after any block, so that the frozen blocks below are computed only
once. Where attention is causal, texts are cut to the longest prompt of a batch; there the cut
changes nothing but the time.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from qa_core.backbones.blueprint import (
    Blueprint,
    build_model,
    find_blueprint,
    load_model,
    unsupported,
)
from qa_core.backbones.image_towers import open_image_tower
from qa_core.backbones.text_tower import open_text_tower
from qa_core.backbones.tokenizers import make_tokenizer
from qa_core.backbones.tower import Member
from qa_core.modes import BackboneSpec
from qa_core.settings.model import BackboneConfig


class Backbone(nn.Module):
    """A CLIP with its tokenizer and preprocessing, both towers open at every block.

    Args:
        clip: The open_clip model; its parameters are this module's.
        blueprint: What it is built from.

    Attributes:
        clip: The open_clip model.
        image: The image tower.
        text: The text tower.
        fixed: Parameters that are constants, as sine-cosine positions are.
        image_size: Side of the input images in pixels.
        sha256: Hash of all weights; of the tokenizer too where it came as files, and of the
            architecture where open_clip has another one, or none, under this name.

    Raises:
        UserError: A tower cannot be opened; the message names the kinds that can.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, clip: nn.Module, blueprint: Blueprint):
        super().__init__()
        self.clip: Any = clip
        self.blueprint = blueprint
        self.tokenizer = make_tokenizer(
            blueprint.name, blueprint.architecture.get("text_cfg", {}), blueprint.tokenizer
        )
        if hasattr(clip, "text_decoder"):
            del self.clip.text_decoder  # CoCa writes captions with it; scores have no use for it
        size = self.clip.visual.image_size
        self.image_size = int(size if isinstance(size, int) else size[0])
        image, text = open_image_tower(self.clip.visual, self.image_size), open_text_tower(clip)
        if image is None or text is None:
            raise unsupported(blueprint.name)
        self.image, self.text = image, text
        self.fixed = [p for p in clip.parameters() if not p.requires_grad]
        self.embed_dim = int(blueprint.architecture["embed_dim"])
        self.spec = BackboneSpec(image.depth, text.depth, published=not blueprint.is_tiny)
        mean = self.clip.visual.image_mean or open_clip.OPENAI_DATASET_MEAN
        std = self.clip.visual.image_std or open_clip.OPENAI_DATASET_STD
        self.register_buffer("pixel_mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.sha256 = _sha256(clip, blueprint)

    def groups(self) -> dict[str, list[Member]]:
        """All parameters in named, ordered groups: both towers, then what never trains."""
        scales = [self.clip.logit_scale, getattr(self.clip, "logit_bias", None)]
        logits: list[Member] = [scale for scale in scales if scale is not None]
        return self.image.groups() | self.text.groups() | {"logits": logits}

    def normalise_pixels(self, images: Tensor) -> Tensor:
        """Network input of uint8 images (batch, 3, size, size)."""
        return (images.float() / 255 - self.pixel_mean) / self.pixel_std

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """Token ids (n, longest), cut to what the longest prompt needs."""
        ids = self.tokenizer(list(prompts))
        return ids[:, : int(self.text.lengths(ids).max())].contiguous()

    def encode_images(self, images: Tensor) -> Tensor:
        """L2-normalised embeddings (batch, embed_dim) of uint8 (batch, [views,] 3, size, size)."""
        pixels = self.normalise_pixels(images.flatten(0, -4))
        embeddings = self.image.embed(self.image.stem(pixels), 0)
        if images.ndim == 4:
            return embeddings
        return average_views(embeddings.unflatten(0, images.shape[:2]))

    def encode_texts(self, token_ids: Tensor) -> Tensor:
        """L2-normalised embeddings (batch, embed_dim) of token ids (batch, length)."""
        return self.text.embed(self.text.stem(token_ids), token_ids, 0)


def average_views(embeddings: Tensor) -> Tensor:
    """L2-normalised mean (..., embed_dim) over the views of embeddings (..., views, embed_dim)."""
    return normalize(embeddings.mean(dim=-2), dim=-1)


def load_backbone(config: BackboneConfig) -> Backbone:
    """Load a backbone through open_clip.

    Raises:
        UserError: The name, the weights or the architecture cannot be used; the message says what
            can.
    """
    blueprint = find_blueprint(config)
    return Backbone(load_model(config, blueprint).float(), blueprint)


def rebuild_backbone(blueprint: Blueprint) -> Backbone:
    """A backbone with random weights, which those of a checkpoint then replace."""
    return Backbone(build_model(blueprint).float(), blueprint)


def load_tokenizer(config: BackboneConfig) -> Any:
    """The tokenizer of a backbone, which needs none of its weights."""
    found = find_blueprint(config)
    return make_tokenizer(found.name, found.architecture.get("text_cfg", {}), found.tokenizer)


def _sha256(module: nn.Module, blueprint: Blueprint) -> str:
    digest, tokenizer = hashlib.sha256(), blueprint.tokenizer
    if tokenizer is not None:
        digest.update(f"{tokenizer.vocabulary}{tokenizer.settings}".encode())
    if not blueprint.is_named:  # it changes the output of the same weights
        digest.update(json.dumps(blueprint.architecture, sort_keys=True).encode())
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
