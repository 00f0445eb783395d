"""The text tower opened up: token ids -> tokens -> blocks -> embedding."""

from typing import Any

import torch
from open_clip.transformer import TextTransformer
from torch import Tensor, nn
from torch.nn.functional import normalize

from qa_core.backbones.plain_block import block_at, is_plain, plain_block
from qa_core.backbones.tower import Member, present, tower_groups


class TextTower:
    """A view of open_clip's text transformer, causal (CLIP), full (SigLIP), or CoCa's.

    What each block may attend to follows from the token ids, so they go along with the tokens.

    Args:
        text: The text module of a `CustomTextCLIP` or `CoCa`, or a plain `CLIP`, which carries the
            same parts itself.
    """

    def __init__(self, text: Any):
        self._text = text
        self.blocks = list(text.transformer.resblocks)
        self._pool_type: str = getattr(text, "pool_type", getattr(text, "text_pool_type", ""))
        self._eos_id = getattr(text, "eos_id", getattr(text, "text_eos_id", None))
        self._has_class = getattr(text, "cls_emb", None) is not None
        self._is_causal = text.attn_mask is not None and not self._has_class

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def token_shape(self, length: int) -> tuple[int, int]:
        """Number of tokens of a text of so many ids, and their width."""
        return length + int(self._has_class), self._text.positional_embedding.shape[1]

    def lengths(self, token_ids: Tensor) -> Tensor:
        """How many tokens (n,) each text needs for its exact embedding.

        Under causal attention those up to the one that is read; otherwise all attend to all.
        """
        if self._is_causal:
            return self._read_at(token_ids) + 1
        length, _ = self.token_shape(token_ids.shape[1])
        return torch.full((token_ids.shape[0],), length, device=token_ids.device)

    def stem(self, token_ids: Tensor) -> Tensor:
        """Tokens (batch, length, width) of token ids (batch, length), up to the context."""
        tokens = self._text.token_embedding(token_ids)
        if self._has_class:  # CoCa's class token comes last
            last = self._text.cls_emb.expand(tokens.shape[0], 1, -1)
            tokens = torch.cat([tokens, last], dim=1)
        return tokens + self._text.positional_embedding[: tokens.shape[1]]

    def run_blocks(self, tokens: Tensor, token_ids: Tensor, start: int, stop: int) -> Tensor:
        """Tokens after the blocks `start` to `stop - 1`; shape unchanged."""
        mask = None
        for block in self.blocks[start:stop]:
            if is_plain(block) and not self._has_class:
                tokens = plain_block(block, tokens, causal=self._is_causal)
                continue
            mask = self._mask(tokens, token_ids) if mask is None else mask
            tokens = block(tokens, attn_mask=mask)
        return tokens

    def _mask(self, tokens: Tensor, token_ids: Tensor) -> Tensor | None:
        """What is added to attention: (length, length), or by row and head for CoCa."""
        if self._text.attn_mask is None:
            return None
        length = tokens.shape[1]
        mask = self._text.attn_mask[:length, :length].to(tokens.dtype)
        if not self._has_class:
            return mask
        return mask + self._text._build_additive_mask(token_ids, length, tokens.dtype)

    def embed(self, tokens: Tensor, token_ids: Tensor, start: int) -> Tensor:
        """L2-normalised embedding (batch, embed_dim) of tokens that have passed `start` blocks."""
        if start == self.depth or self._has_class or not is_plain(self.blocks[-1]):
            return self.tail(self.run_blocks(tokens, token_ids, start, self.depth), token_ids)
        tokens = self.run_blocks(tokens, token_ids, start, self.depth - 1)
        at, mask, length = self._read_at(token_ids), None, tokens.shape[1]
        if self._is_causal:
            mask = self._text.attn_mask[:length, :length][at].unsqueeze(1)  # (batch, 1, length)
        return self._project(block_at(self.blocks[-1], tokens, at, mask))

    def tail(self, tokens: Tensor, token_ids: Tensor) -> Tensor:
        """L2-normalised embedding (batch, embed_dim) of the last block's tokens."""
        rows = torch.arange(tokens.shape[0], device=tokens.device)
        return self._project(tokens[rows, self._read_at(token_ids)])

    def _read_at(self, token_ids: Tensor) -> Tensor:
        """The position (batch,) at which each text's embedding is read."""
        pool_type = "last" if self._has_class else self._pool_type
        if pool_type == "argmax":
            return token_ids.argmax(dim=1)  # the end token has the highest id
        if pool_type == "eos":
            return (token_ids == self._eos_id).int().argmax(dim=1)
        at = 0 if pool_type == "first" else self.token_shape(token_ids.shape[1])[0] - 1
        return torch.full((token_ids.shape[0],), at, device=token_ids.device)

    def _project(self, pooled: Tensor) -> Tensor:
        pooled = self._text.ln_final(pooled)  # a per-token norm: pooling first is exact
        projection = self._text.text_projection
        if projection is None:
            return normalize(pooled, dim=-1)
        embedding = projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
        return normalize(embedding, dim=-1)

    def groups(self) -> dict[str, list[Member]]:
        """Named groups in order from the token ids up: stem, blocks, tail."""
        text = self._text
        stem = present(text.token_embedding, text.positional_embedding)
        stem += present(getattr(text, "cls_emb", None))
        return tower_groups("text", stem, self.blocks, present(text.ln_final, text.text_projection))

    def projection(self) -> list[Member]:
        """What maps the pooled tokens to the embedding; empty where nothing does."""
        return present(self._text.text_projection)


def open_text_tower(clip: Any) -> TextTower | None:
    """The view of a text tower as open_clip builds it, or None where there is none."""
    text = getattr(clip, "text", clip)
    if text is not clip and type(text) is not TextTransformer:
        return None
    tower = TextTower(text)
    readable = tower._has_class or tower._pool_type in ("argmax", "eos", "first", "last")
    return tower if readable and not getattr(text, "use_pad_mask", False) else None
