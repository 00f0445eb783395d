"""open_clip's residual attention block, computed with less work and the same result."""

from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention


def is_plain(block: nn.Module) -> bool:
    """Whether a block is open_clip's usual one: it attends to its own tokens, without dropout."""
    if type(block) is not ResidualAttentionBlock:
        return False
    attention = block.attn
    return attention.in_proj_weight is not None and attention.batch_first and not attention.dropout


def plain_block(block: Any, tokens: Tensor, causal: bool = False) -> Tensor:
    """Tokens (batch, length, width) after a block, without the copies of torch's attention module.

    Args:
        block: A plain block.
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


def block_at(block: Any, tokens: Tensor, at: Tensor, mask: Tensor | None = None) -> Tensor:
    """Output (batch, width) of a block at one position of each row, exactly.

    The embedding is read at one position, so in the last block the others are keys and values only:
    their queries and their MLP, five sixths of the block, are never computed.

    Args:
        block: A plain block.
        tokens: All tokens (batch, length, width).
        at: The position of each row (batch,).
        mask: Added to the attention of that position (batch, 1, length), or None.
    """
    rows = torch.arange(tokens.shape[0], device=tokens.device)
    normed = block.ln_1(tokens)
    if mask is not None:
        mask = mask.repeat_interleave(block.attn.num_heads, dim=0)  # (batch * heads, 1, length)
    query = normed[rows, at].unsqueeze(1)  # (batch, 1, width)
    x = tokens[rows, at] + block.ls_1(block.attention(query, normed, normed, mask).squeeze(1))
    return x + block.ls_2(block.mlp(block.ln_2(x)))
