"""State dicts of `transformers`' CLIPModel and SiglipModel, by open_clip's names."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

StateDict = dict[str, Tensor]
Rules = Sequence[tuple[str, str]]

_BLOCK: Rules = (
    (".self_attn.", ".attn."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)
_TEXT: Rules = (
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("text_model.embeddings.token_embedding.", "token_embedding."),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.final_layer_norm.", "ln_final."),
    ("text_model.head.", "text_projection."),
    *_BLOCK,
)
_CLIP_IMAGE: Rules = (
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
    ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    ("vision_model.embeddings.patch_embedding.", "visual.conv1."),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),  # misspelt there
    ("vision_model.post_layernorm.", "visual.ln_post."),
    *_BLOCK,
)
_SIGLIP_IMAGE: Rules = (
    ("vision_model.encoder.layers.", "visual.trunk.blocks."),
    ("vision_model.embeddings.patch_embedding.", "visual.trunk.patch_embed.proj."),
    ("vision_model.embeddings.position_embedding.weight", "visual.trunk.pos_embed"),
    ("vision_model.post_layernorm.", "visual.trunk.norm."),
    ("vision_model.head.probe", "visual.trunk.attn_pool.latent"),
    ("vision_model.head.attention.in_proj_weight", "visual.trunk.attn_pool.qkv.weight"),
    ("vision_model.head.attention.in_proj_bias", "visual.trunk.attn_pool.qkv.bias"),
    ("vision_model.head.attention.out_proj.", "visual.trunk.attn_pool.proj."),
    ("vision_model.head.layernorm.", "visual.trunk.attn_pool.norm."),
    ("vision_model.head.mlp.", "visual.trunk.attn_pool.mlp."),
    (".self_attn.out_proj.", ".attn.proj."),
    (".self_attn.", ".attn."),
    (".layer_norm1.", ".norm1."),
    (".layer_norm2.", ".norm2."),
)
_QUERY = re.compile(r"(.+\.attn\.)q_proj\.(weight|bias)")
_JOINED = re.compile(r"(.+\.attn\.)in_proj_(weight|bias)")


def from_transformers(state: StateDict) -> StateDict:
    """A state dict by open_clip's names; one that has them already is returned as it is.

    Unknown names are kept, so that the error on loading lists them.
    """
    if not any(name.startswith(("vision_model.", "text_model.")) for name in state):
        return state
    is_siglip = "vision_model.head.probe" in state
    found = {
        _renamed(name, is_siglip): value
        for name, value in state.items()
        if not name.endswith("embeddings.position_ids")  # 0, 1, 2 …, which older files hold
    }
    _join_queries(found, is_siglip)
    if is_siglip:
        _shape_as_timm(found)
        return found
    for name, own in (("visual_projection", "visual.proj"), ("text_projection", "text_projection")):
        if f"{name}.weight" in found:
            found[own] = found.pop(f"{name}.weight").T.contiguous()
    return found


def to_transformers(state: StateDict) -> StateDict:
    """The state dict of a `CLIPModel`: `from_transformers` turned round.

    Args:
        state: Of open_clip's `CLIP` with its own two transformers.
    """
    found: StateDict = {}
    for name, value in state.items():
        if name in ("visual.proj", "text_projection"):
            theirs = name.replace("visual.proj", "visual_projection")
            found[f"{theirs}.weight"] = value.T.contiguous()
        elif match := _JOINED.fullmatch(name):
            start, kind = match.groups()
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                found[_named_there(f"{start}{letter}_proj.{kind}")] = part.contiguous()
        else:
            found[_named_there(name)] = value.contiguous()
    return found


def _named_there(name: str) -> str:
    """The name in `transformers` of a parameter of open_clip's `CLIP`."""
    for theirs, ours in reversed(_CLIP_IMAGE if name.startswith("visual.") else _TEXT):
        name = name.replace(ours, theirs)
    return name


def _renamed(name: str, is_siglip: bool) -> str:
    is_image = name.startswith("vision_model.")
    image = _SIGLIP_IMAGE if is_siglip else _CLIP_IMAGE
    prefix = "text." if is_siglip and name.startswith("text_model.") else ""
    for theirs, ours in image if is_image else _TEXT:
        name = name.replace(theirs, ours)
    return prefix + name


def _join_queries(state: StateDict, is_siglip: bool) -> None:
    """Queries, keys and values one below the other, where all three are there."""
    for match in [match for name in state if (match := _QUERY.fullmatch(name))]:
        start, kind = match.groups()
        names = [f"{start}{letter}_proj.{kind}" for letter in "qkv"]
        if all(name in state for name in names):
            in_timm = is_siglip and start.startswith("visual.")
            joined = f"{start}qkv.{kind}" if in_timm else f"{start}in_proj_{kind}"
            state[joined] = torch.cat([state.pop(name) for name in names])


def _shape_as_timm(state: StateDict) -> None:
    """Positions for a batch of one, and the pooling's queries apart from keys and values."""
    positions, pool = "visual.trunk.pos_embed", "visual.trunk.attn_pool"
    if positions in state:
        state[positions] = state[positions].unsqueeze(0)
    for kind in ("weight", "bias"):
        joined = state.pop(f"{pool}.qkv.{kind}", None)
        if joined is not None:
            third = len(joined) // 3
            state[f"{pool}.q.{kind}"], state[f"{pool}.kv.{kind}"] = joined[:third], joined[third:]
