"""Image towers opened up: open_clip's own ViT, timm's ViTs, and towers of stages."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.models import (
    convnext,
    eva,
    fastvit,
    resnet,
    swin_transformer,
    vision_transformer,
)
from torch import Tensor, nn

from qa_core.backbones.plain_block import block_at, is_plain, plain_block
from qa_core.backbones.tower import ImageTower, Member, present, tower_groups


class OpenClipVit(ImageTower):
    """A view of open_clip's `VisionTransformer`, that of CoCa included."""

    def __init__(self, visual: VisionTransformer):
        self._visual = visual
        self.blocks = list(visual.transformer.resblocks)

    def token_shape(self, blocks: int) -> tuple[int, ...]:
        """Number of tokens of an image, the class token included, and their width."""
        tokens, width = self._visual.positional_embedding.shape
        return tokens, width

    def stem(self, pixels: Tensor) -> Tensor:
        """Tokens (batch, tokens, width) of normalised pixels (batch, 3, size, size)."""
        return self._visual._embeds(pixels)

    def run_blocks(self, tokens: Tensor, start: int, stop: int) -> Tensor:
        """Tokens after the blocks `start` to `stop - 1`; shape unchanged."""
        for block in self.blocks[start:stop]:
            tokens = plain_block(block, tokens) if is_plain(block) else block(tokens)
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Embedding (batch, embed_dim), of any length, of the last block's tokens."""
        pooled, _ = self._visual._pool(tokens)  # (batch, width)
        projection = self._visual.proj
        assert projection is not None, "a CLIP image tower projects"
        return pooled @ projection

    def embed(self, tokens: Tensor, start: int) -> Tensor:
        """L2-normalised embedding (batch, embed_dim) of tokens that have passed `start` blocks."""
        visual = self._visual
        # Where only the class token is read, the last block has to compute that position alone.
        reads_one = visual.attn_pool is None and visual.pool_type == "tok"
        if start == self.depth or not (reads_one and is_plain(self.blocks[-1])):
            return super().embed(tokens, start)
        tokens = self.run_blocks(tokens, start, self.depth - 1)
        class_token = torch.zeros(tokens.shape[0], dtype=torch.long, device=tokens.device)
        return self.tail(block_at(self.blocks[-1], tokens, class_token).unsqueeze(1))

    def groups(self) -> dict[str, list[Member]]:
        """Named groups in order from the pixels up: stem, blocks, tail."""
        visual = self._visual
        stem = present(visual.conv1, visual.class_embedding, visual.positional_embedding)
        stem += [visual.patch_dropout, visual.ln_pre]
        tail = present(visual.attn_pool, visual.ln_post, visual.proj)
        return tower_groups("image", stem, self.blocks, tail)

    def projection(self) -> list[Member]:
        """What maps the pooled tokens to the embedding."""
        return present(self._visual.proj)


class TimmVit(ImageTower):
    """A view of timm's `VisionTransformer` or `Eva`: SigLIP, EVA, PE, ViTamin and others."""

    # Named from above: whatever else a trunk has beside its blocks comes before them.
    _TAIL = ("norm", "attn_pool", "fc_norm", "head_drop", "head")

    def __init__(self, visual: TimmModel):
        self._visual, self._trunk = visual, cast("Any", visual.trunk)
        self.blocks = list(self._trunk.blocks)

    def token_shape(self, blocks: int) -> tuple[int, ...]:
        """Number of tokens of an image, class and register tokens included, and their width."""
        prefix = self._trunk.num_prefix_tokens
        return self._trunk.patch_embed.num_patches + prefix, self._trunk.embed_dim

    def stem(self, pixels: Tensor) -> Tensor:
        """Tokens (batch, tokens, width) of normalised pixels (batch, 3, size, size)."""
        trunk = self._trunk
        tokens = trunk._pos_embed(trunk.patch_embed(pixels))
        if isinstance(trunk, eva.Eva):  # gives rotary positions too, which `run_blocks` asks for
            return trunk.norm_pre(tokens[0])
        return trunk.norm_pre(trunk.patch_drop(tokens))

    def run_blocks(self, tokens: Tensor, start: int, stop: int) -> Tensor:
        """Tokens after the blocks `start` to `stop - 1`; shape unchanged."""
        rope = self._rope()
        if rope is None:
            return super().run_blocks(tokens, start, stop)
        for index in range(start, stop):
            # mixed: each block has learnt frequencies of its own
            at = rope[index] if getattr(self._trunk, "rope_mixed", False) else rope
            tokens = self.blocks[index](tokens, rope=at)
        return tokens

    def _rope(self) -> Any:
        """Rotary positions, which every block reads anew; None where the tower has none."""
        trunk = self._trunk
        rope = getattr(trunk, "rope", None)
        if rope is None:
            return None
        if hasattr(rope, "feat_shape") and not trunk.dynamic_img_size:
            return rope.get_embed()
        return rope.get_embed(shape=trunk.patch_embed.grid_size)

    def pool(self, tokens: Tensor) -> Tensor:
        """Embedding (batch, embed_dim), of any length, of the last block's tokens."""
        return self._visual.head(self._trunk.forward_head(self._trunk.norm(tokens)))

    def groups(self) -> dict[str, list[Member]]:
        """Named groups in order from the pixels up: stem, blocks, tail."""
        children = dict(self._trunk.named_children())
        blocks_and_tail = {"blocks", *self._TAIL}
        own = self._trunk._parameters.values()
        stem = present(*own, *(m for n, m in children.items() if n not in blocks_and_tail))
        tail = present(*(children.get(name) for name in self._TAIL), self._visual.head)
        return tower_groups("image", stem, self.blocks, tail)

    def projection(self) -> list[Member]:
        """What maps the pooled tokens to the embedding; SigLIP's pooling ends in it."""
        return _timm_projection(self._visual)


@dataclass(frozen=True)
class Layout:
    """How a tower of stages is laid out, by the names of its parts in the order they run.

    Attributes:
        stem: Before the stages.
        stages: The stages, or the one part that holds them.
        after: After the stages, before what pools.
    """

    stem: tuple[str, ...]
    stages: tuple[str, ...]
    after: tuple[str, ...] = ()


_LAYERS = ("layer1", "layer2", "layer3", "layer4")
_CONVOLUTIONS = tuple(f"{part}{i}" for i in (1, 2, 3) for part in ("conv", "bn", "act"))
LAYOUTS: dict[type[nn.Module], Layout] = {
    ModifiedResNet: Layout((*_CONVOLUTIONS, "avgpool"), _LAYERS, ("attnpool",)),
    resnet.ResNet: Layout(("conv1", "bn1", "act1", "maxpool"), _LAYERS),
    convnext.ConvNeXt: Layout(("stem",), ("stages",), ("norm_pre",)),
    swin_transformer.SwinTransformer: Layout(("patch_embed",), ("layers",), ("norm",)),
    fastvit.FastVit: Layout(("stem",), ("stages",), ("final_conv",)),
}


class StageTower(ImageTower):
    """A view of a tower without transformer blocks by its stages: ConvNeXt, ResNet and others."""

    def __init__(self, visual: Any, size: int):
        self._visual, self._trunk = visual, getattr(visual, "trunk", visual)
        self._layout = LAYOUTS[type(self._trunk)]
        parts = [getattr(self._trunk, name) for name in self._layout.stages]
        self.blocks = list(parts[0]) if len(parts) == 1 else parts
        self._shapes = self._token_shapes(size)

    @torch.no_grad()
    def _token_shapes(self, size: int) -> list[tuple[int, ...]]:
        # timm does not state the shapes between stages, so a blank picture is passed through
        training = self._visual.training
        self._visual.eval()  # it must not count in batch statistics
        tokens = self.stem(torch.zeros(1, 3, size, size))
        shapes = [tuple(tokens.shape[1:])]
        for block in self.blocks:
            tokens = block(tokens)
            shapes.append(tuple(tokens.shape[1:]))
        self._visual.train(training)
        return shapes

    def token_shape(self, blocks: int) -> tuple[int, ...]:
        """Shape of an image's map after so many stages."""
        return self._shapes[blocks]

    def stem(self, pixels: Tensor) -> Tensor:
        """Map (batch, channels, height, width) of normalised pixels (batch, 3, size, size)."""
        return self._run(self._layout.stem, pixels)

    def pool(self, tokens: Tensor) -> Tensor:
        """Embedding (batch, embed_dim), of any length, of the last stage's map."""
        tokens = self._run(self._layout.after, tokens)
        if self._trunk is self._visual:  # open_clip's own ResNet pools in `after`
            return tokens
        return self._visual.head(self._trunk.forward_head(tokens))

    def _run(self, names: tuple[str, ...], tokens: Tensor) -> Tensor:
        for name in names:
            tokens = getattr(self._trunk, name)(tokens)
        return tokens

    def groups(self) -> dict[str, list[Member]]:
        """Named groups in order from the pixels up: stem, stages, tail."""
        below = (*self._layout.stem, *self._layout.stages)
        stem = present(*(getattr(self._trunk, name) for name in self._layout.stem))
        tail = present(*(m for n, m in self._trunk.named_children() if n not in below))
        if self._trunk is not self._visual:
            tail.append(self._visual.head)
        return tower_groups("image", stem, self.blocks, tail)

    def projection(self) -> list[Member]:
        """What maps the pooled map to the embedding."""
        if self._trunk is self._visual:
            return [self._visual.attnpool.c_proj]
        return _timm_projection(self._visual)


def _timm_projection(visual: Any) -> list[Member]:
    """The projection of a timm tower: open_clip's own, that of its pooling, or the classifier."""
    own = dict(visual.head.named_children())
    pool = own.get("pool")
    found = present(own.get("proj"), own.get("mlp"), pool.proj if pool is not None else None)
    classifier = visual.trunk.get_classifier()
    return found or ([classifier] if any(True for _ in classifier.parameters()) else [])


def open_image_tower(visual: Any, size: int) -> ImageTower | None:
    """The view of an image tower as open_clip builds it, or None where there is none."""
    if isinstance(visual, VisionTransformer):
        many_pools = getattr(visual, "attn_pool_contrastive", None) is not None
        return None if many_pools or visual.pool_type == "none" else OpenClipVit(visual)
    trunk = visual.trunk if isinstance(visual, TimmModel) else visual
    # The very class, not a subclass: that may have another forward pass.
    if type(trunk) is eva.Eva:  # dropped patches would have to drop their rotary positions too
        return None if trunk.patch_drop is not None else TimmVit(visual)
    if type(trunk) is vision_transformer.VisionTransformer:
        return TimmVit(visual)
    return StageTower(visual, size) if type(trunk) in LAYOUTS else None
