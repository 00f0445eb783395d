"""A pretrained CLIP, opened up: each tower as stem, blocks and tail.

Any open_clip model whose towers are stacks of transformer blocks with a causal text tower is
supported. A tower can be entered after any block, so that what is frozen below need be computed
only once, and texts are cut to the longest prompt of a batch, which causal attention makes exact.
"""

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Sequence
from pickle import UnpicklingError
from typing import Any

import open_clip
import torch
from open_clip.transformer import ResidualAttentionBlock, TextTransformer, VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import linear, normalize, scaled_dot_product_attention

from qa_core.backbones.registry import TINY_NAME, TINY_WEIGHTS, register_tiny, tiny_tokenizer
from qa_core.config import BackboneConfig
from qa_core.errors import UserError
from qa_core.modes import BackboneSpec

Member = nn.Module | nn.Parameter


class ImageTower:
    """A view of open_clip's `VisionTransformer`: pixels -> tokens -> blocks -> embedding."""

    def __init__(self, visual: VisionTransformer):
        self._visual = visual
        self.blocks = visual.transformer.resblocks

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def token_shape(self) -> tuple[int, int]:
        """Number of tokens of an image, the class token included, and their width."""
        tokens, width = self._visual.positional_embedding.shape
        return tokens, width

    def stem(self, pixels: Tensor) -> Tensor:
        """Tokens (batch, tokens, width) of normalised pixels (batch, 3, size, size)."""
        return self._visual._embeds(pixels)

    def run_blocks(self, tokens: Tensor, start: int, stop: int) -> Tensor:
        """Tokens after the blocks `start` to `stop - 1`; shape unchanged."""
        for block in self.blocks[start:stop]:
            tokens = _plain_block(block, tokens) if _is_plain(block) else block(tokens)
        return tokens

    def tail(self, tokens: Tensor) -> Tensor:
        """L2-normalised embedding (batch, embed_dim) of the last block's tokens."""
        pooled, _ = self._visual._pool(tokens)  # (batch, width)
        projection = self._visual.proj
        assert projection is not None, "a CLIP image tower projects"
        return normalize(pooled @ projection, dim=-1)

    def embed(self, tokens: Tensor, start: int) -> Tensor:
        """L2-normalised embedding (batch, embed_dim) of tokens that have passed `start` blocks."""
        visual = self._visual
        reads_one = visual.attn_pool is None and visual.pool_type == "tok"
        if start == self.depth or not (reads_one and _is_plain(self.blocks[-1])):
            return self.tail(self.run_blocks(tokens, start, self.depth))
        tokens = self.run_blocks(tokens, start, self.depth - 1)
        class_token = torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)
        return self.tail(_block_at(self.blocks[-1], tokens, class_token).unsqueeze(1))

    def groups(self) -> dict[str, list[Member]]:
        """Named groups in order from the pixels up: stem, blocks, tail."""
        visual = self._visual
        stem: list[Member] = [visual.conv1, visual.class_embedding, visual.positional_embedding]
        stem += [visual.patch_dropout, visual.ln_pre]
        top: tuple[Any, ...] = (visual.attn_pool, visual.ln_post, visual.proj)
        tail: list[Member] = [member for member in top if member is not None]
        return _tower_groups("image", stem, self.blocks, tail)


class TextTower:
    """A view of open_clip's causal text transformer: token ids -> tokens -> blocks -> embedding.

    Args:
        text: The text module of a `CustomTextCLIP`, or a plain `CLIP`, which carries the same
            parts itself.
    """

    def __init__(self, text: Any):
        self._text = text
        self.blocks = text.transformer.resblocks

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def width(self) -> int:
        """Width of a token."""
        return self._text.positional_embedding.shape[1]

    def stem(self, token_ids: Tensor) -> Tensor:
        """Tokens (batch, length, width) of token ids (batch, length), up to the context."""
        positions = self._text.positional_embedding[: token_ids.shape[1]]
        return self._text.token_embedding(token_ids) + positions

    def run_blocks(self, tokens: Tensor, start: int, stop: int) -> Tensor:
        """Tokens after the blocks `start` to `stop - 1`; shape unchanged."""
        length = tokens.shape[1]
        mask = self._text.attn_mask[:length, :length].to(tokens.dtype)
        for block in self.blocks[start:stop]:
            if _is_plain(block):
                tokens = _plain_block(block, tokens, causal=True)
            else:
                tokens = block(tokens, attn_mask=mask)
        return tokens

    def tail(self, tokens: Tensor, ends: Tensor) -> Tensor:
        """L2-normalised embedding (batch, embed_dim); `ends` (batch,) are last positions."""
        return self._project(tokens[torch.arange(len(tokens), device=tokens.device), ends])

    def embed(self, tokens: Tensor, ends: Tensor, start: int) -> Tensor:
        """L2-normalised embedding (batch, embed_dim) of tokens that have passed `start` blocks."""
        if start == self.depth or not _is_plain(self.blocks[-1]):
            return self.tail(self.run_blocks(tokens, start, self.depth), ends)
        tokens = self.run_blocks(tokens, start, self.depth - 1)
        length = tokens.shape[1]
        seen = self._text.attn_mask[:length, :length][ends].unsqueeze(1)  # (batch, 1, length)
        return self._project(_block_at(self.blocks[-1], tokens, ends, seen))

    def _project(self, pooled: Tensor) -> Tensor:
        pooled = self._text.ln_final(pooled)  # a per-token norm: pooling first is exact
        projection = self._text.text_projection
        embedding = projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
        return normalize(embedding, dim=-1)

    def groups(self) -> dict[str, list[Member]]:
        """Named groups in order from the token ids up: stem, blocks, tail."""
        text = self._text
        return _tower_groups(
            "text",
            [text.token_embedding, text.positional_embedding],
            self.blocks,
            [text.ln_final, text.text_projection],
        )


def _is_plain(block: nn.Module) -> bool:
    if type(block) is not ResidualAttentionBlock:
        return False
    attention = block.attn  # keys and values from the same tokens, no dropout
    return attention.in_proj_weight is not None and attention.batch_first and not attention.dropout


def _plain_block(block: Any, tokens: Tensor, causal: bool = False) -> Tensor:
    """A residual attention block, without the copies that torch's attention module makes.

    Args:
        block: open_clip's residual attention block.
        tokens: Tokens (batch, length, width).
        causal: Whether a token attends to earlier ones only.
    """
    attention, (batch, length, _) = block.attn, tokens.shape
    together = linear(block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
    apart = together.view(batch, length, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = apart  # (batch, heads, length, width / heads) each
    read = scaled_dot_product_attention(query, key, value, is_causal=causal)
    tokens = tokens + block.ls_1(attention.out_proj(read.transpose(1, 2).flatten(2)))
    return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))


def _block_at(block: Any, tokens: Tensor, at: Tensor, mask: Tensor | None = None) -> Tensor:
    """What a block makes of one position of each row (batch, width), exactly.

    The embedding is read at one position, so in the last block the others are keys and values only:
    their queries and their MLP, five sixths of the block, are never computed.

    Args:
        block: open_clip's residual attention block.
        tokens: All tokens (batch, length, width).
        at: The position of each row (batch,).
        mask: Added to the attention of that position (batch, 1, length), or None.
    """
    rows = torch.arange(len(tokens), device=tokens.device)
    normed = block.ln_1(tokens)
    if mask is not None:
        mask = mask.repeat_interleave(block.attn.num_heads, dim=0)  # (batch * heads, 1, length)
    query = normed[rows, at].unsqueeze(1)  # (batch, 1, width)
    x = tokens[rows, at] + block.ls_1(block.attention(query, normed, normed, mask).squeeze(1))
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def _tower_groups(
    tower: str, stem: list[Member], blocks: nn.ModuleList, tail: list[Member]
) -> dict[str, list[Member]]:
    groups = {f"{tower}.stem": stem}
    groups |= {f"{tower}.blocks.{i}": [block] for i, block in enumerate(blocks)}
    return groups | {f"{tower}.tail": tail}


class Backbone(nn.Module):
    """A CLIP with its tokenizer and preprocessing, both towers open at every block.

    Attributes:
        clip: The open_clip model; its parameters are this module's.
        image: The image tower.
        text: The text tower.
        image_size: Side of the input images in pixels.
        sha256: Hash of all weights.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, clip: nn.Module, tokenizer: Any, published: bool):
        super().__init__()
        self.clip: Any = clip
        self.tokenizer = tokenizer
        self.image = ImageTower(self.clip.visual)
        self.text = TextTower(getattr(clip, "text", clip))
        self.image_size = int(self.clip.visual.image_size[0])
        self.embed_dim = int(self.clip.visual.output_dim)
        self.spec = BackboneSpec(self.image.depth, self.text.depth, published)
        mean = self.clip.visual.image_mean or open_clip.OPENAI_DATASET_MEAN
        std = self.clip.visual.image_std or open_clip.OPENAI_DATASET_STD
        self.register_buffer("pixel_mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.sha256 = _weights_sha256(clip)

    def groups(self) -> dict[str, list[Member]]:
        """All parameters in named, ordered groups: both towers, then what never trains."""
        scales = [self.clip.logit_scale, getattr(self.clip, "logit_bias", None)]
        logits: list[Member] = [scale for scale in scales if scale is not None]
        return self.image.groups() | self.text.groups() | {"logits": logits}

    def normalise_pixels(self, images: Tensor) -> Tensor:
        """Network input of uint8 images (batch, 3, size, size)."""
        return (images.float() / 255 - self.pixel_mean) / self.pixel_std

    def tokenize(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids (n, longest), cut to the longest prompt, and last positions (n,)."""
        ids = self.tokenizer(list(prompts))
        ends = ids.argmax(dim=1)  # the end token has the highest id
        return ids[:, : int(ends.max()) + 1].contiguous(), ends

    def encode_images(self, images: Tensor) -> Tensor:
        """L2-normalised embeddings (batch, embed_dim) of uint8 images."""
        return self.image.embed(self.image.stem(self.normalise_pixels(images)), 0)

    def encode_texts(self, token_ids: Tensor, ends: Tensor) -> Tensor:
        """L2-normalised embeddings (batch, embed_dim) of token ids and last positions."""
        return self.text.embed(self.text.stem(token_ids), ends, 0)


def load_backbone(config: BackboneConfig) -> Backbone:
    """Load a backbone through open_clip.

    Raises:
        UserError: The name, the weights or the architecture cannot be used; the sentence says
            what can.
    """
    tiny = config.backbone == TINY_NAME
    with torch.random.fork_rng(devices=[]):  # random weights, too, are the same in every process
        torch.manual_seed(0)
        clip = _create_model(config.backbone, _weights(config, tiny))
    _require_supported(config.backbone, clip)
    return Backbone(clip, load_tokenizer(config), published=not tiny)


def load_tokenizer(config: BackboneConfig) -> Any:
    """The tokenizer of a backbone, which needs none of its weights."""
    _require_known(config.backbone)
    tiny = config.backbone == TINY_NAME
    return tiny_tokenizer() if tiny else open_clip.get_tokenizer(config.backbone)


def _weights(config: BackboneConfig, tiny: bool) -> str | None:
    if config.pretrained == "none":
        return None
    if config.pretrained != "default":
        return config.pretrained
    if tiny:
        return str(TINY_WEIGHTS)
    tags = open_clip.list_pretrained_tags_by_model(config.backbone)
    if not tags:
        raise UserError(
            f"--backbone {config.backbone} has no published weights in open_clip: give a weights"
            " file as --pretrained FILE, or --pretrained none for random ones."
        )
    return "openai" if "openai" in tags else tags[0]


def _require_known(name: str) -> None:
    register_tiny()
    if name not in open_clip.list_models():
        near = [m for m in open_clip.list_models() if m.lower().startswith(name.lower()[:5])]
        hint = f" Near it: {', '.join(near[:6])}." if near else ""
        raise UserError(f"--backbone {name} is not a model that open_clip knows.{hint}")


def _create_model(name: str, weights: str | None) -> nn.Module:
    _require_known(name)
    try:
        # Random weights come from a fixed seed: every worker must start from the same ones.
        with _quiet_open_clip(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = open_clip.create_model(name, pretrained=weights)
    except Exception as error:
        if weights is None:
            raise
        if isinstance(error, UnpicklingError):
            raise UserError(
                f"{weights} is no weights file of {name}: it is damaged, or holds more than tensors"
                " and is refused."
            ) from error
        reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        raise UserError(
            f"Weights {weights!r} of {name} cannot be loaded ({reason})."
            " Without network, fetch the file elsewhere and give its path as --pretrained FILE."
        ) from error
    return model.float()


@contextlib.contextmanager
def _quiet_open_clip() -> Iterator[None]:
    """Silence open_clip's own note on random weights: ours says it louder."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _require_supported(name: str, clip: Any) -> None:
    text = getattr(clip, "text", clip)
    plain_text = isinstance(text, TextTransformer) or text is clip
    causal = plain_text and text.attn_mask is not None and getattr(text, "cls_emb", None) is None
    pool = getattr(text, "pool_type", getattr(clip, "text_pool_type", "argmax"))
    if not isinstance(clip.visual, VisionTransformer) or not causal or pool != "argmax":
        raise UserError(
            f"--backbone {name} is not supported: this needs open_clip's own ViT image tower and"
            " causal text tower, as in ViT-B-32, ViT-B-16, ViT-L-14, ViT-H-14 or qa-tiny."
        )


def _weights_sha256(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
