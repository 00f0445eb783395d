"""What every tower is to the rest of the project: a stem, blocks, and a tail."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import normalize

Member = nn.Module | nn.Parameter

RAW = "raw"
EMBEDDING = "embedding"
Boundary = int | str
"""A place in a tower: `RAW` (pixels or token ids), a number k (the tokens after the stem and k
blocks) or `EMBEDDING` (the normalised embedding)."""


@dataclass(frozen=True)
class TowerEntry:
    """The place at which a batch enters each tower; the layers before it are not run."""

    image: Boundary = RAW
    text: Boundary = RAW


FROM_RAW = TowerEntry()
EMBEDDED = TowerEntry(EMBEDDING, EMBEDDING)


def tower_groups(
    tower: str, stem: list[Member], blocks: Sequence[nn.Module], tail: list[Member]
) -> dict[str, list[Member]]:
    """Named groups in order from the input up: stem, blocks, tail."""
    groups = {f"{tower}.stem": stem}
    groups |= {f"{tower}.blocks.{i}": [block] for i, block in enumerate(blocks)}
    return groups | {f"{tower}.tail": tail}


def present(*members: Member | None) -> list[Member]:
    """The members that are not None."""
    return [member for member in members if member is not None]


class ImageTower(ABC):
    """A view of an image tower that can be entered after any block.

    "Tokens" are what passes between blocks, (batch, ...): of a transformer (batch, tokens, width),
    of a tower of stages a map (batch, channels, height, width), whose blocks are the stages.

    Attributes:
        blocks: The blocks, from the pixels up.
    """

    blocks: Sequence[nn.Module]

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @abstractmethod
    def token_shape(self, blocks: int) -> tuple[int, ...]:
        """Shape of an image's tokens after so many blocks."""

    @abstractmethod
    def stem(self, pixels: Tensor) -> Tensor:
        """Tokens (batch, ...) of normalised pixels (batch, 3, size, size)."""

    @abstractmethod
    def pool(self, tokens: Tensor) -> Tensor:
        """Embedding (batch, embed_dim), of any length, of the last block's tokens."""

    @abstractmethod
    def groups(self) -> dict[str, list[Member]]:
        """Named groups in order from the pixels up: stem, blocks, tail."""

    @abstractmethod
    def projection(self) -> list[Member]:
        """What maps the pooled tokens to the embedding; empty where pooling ends in it."""

    def run_blocks(self, tokens: Tensor, start: int, stop: int) -> Tensor:
        """Tokens after the blocks `start` to `stop - 1`."""
        for block in self.blocks[start:stop]:
            tokens = block(tokens)
        return tokens

    def tail(self, tokens: Tensor) -> Tensor:
        """L2-normalised embedding (batch, embed_dim) of the last block's tokens."""
        return normalize(self.pool(tokens), dim=-1)

    def embed(self, tokens: Tensor, start: int) -> Tensor:
        """L2-normalised embedding (batch, embed_dim) of tokens that have passed `start` blocks."""
        return self.tail(self.run_blocks(tokens, start, self.depth))
