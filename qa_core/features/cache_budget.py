"""Which frozen activations fit the budget: decided by sizes alone, before anything is computed."""

import math
from dataclasses import dataclass

from qa_core.backbones.backbone import Backbone
from qa_core.backbones.tower import EMBEDDING, Boundary
from qa_core.features.activations import stored_dtype
from qa_core.settings.training import CachePrecision

GB = 10**9


@dataclass(frozen=True)
class CachePlan:
    """What the cache of a table may hold.

    Attributes:
        kept: Boundaries within the budget.
        left_out: Depths beyond it, ascending.
        left_out_bytes: What those would need.
    """

    kept: frozenset[Boundary]
    left_out: tuple[int, ...] = ()
    left_out_bytes: int = 0

    @property
    def words(self) -> str | None:
        """A sentence on what was left out, or None."""
        if not self.left_out:
            return None
        return (
            f"Activations behind {self.left_out[0]} to {self.left_out[-1]} frozen blocks would need"
            f" {self.left_out_bytes / GB:.1f} GB more than --cache_gb allows (CACHE_GB=): runs at"
            " these depths compute their frozen blocks at every step; --cache_precision half"
            " (CACHE_PRECISION=half) halves the need."
        )


def plan_cache(
    backbone: Backbone,
    n_images: int,
    n_texts: int,
    length: int,
    gb: float,
    precision: CachePrecision,
    views: int = 1,
) -> CachePlan:
    """The boundaries that fit into `gb`: embeddings first, then depths from the top down.

    The deeper a boundary, the more computation it saves for the same size. The rule does not depend
    on the study or the run, so that a run is computed the same way whoever asks for it.

    Args:
        backbone: The backbone.
        n_images: Images of the table.
        n_texts: Its distinct prompts.
        length: Tokens of the longest prompt.
        gb: The budget, 10^9 bytes.
        precision: In which tokens are kept.
        views: Pictures that stand for one image.
    """
    kept: set[Boundary] = set()
    left_out: list[int] = []
    used = left_out_bytes = 0
    for at in (EMBEDDING, *range(backbone.image.depth, 0, -1)):
        size = boundary_bytes(backbone, at, n_images * views, n_texts, length, precision)
        if used + size <= gb * GB:
            used += size
            kept.add(at)
        elif at != EMBEDDING:
            left_out.append(int(at))
            left_out_bytes += size
    return CachePlan(frozenset(kept), tuple(sorted(left_out)), left_out_bytes)


def boundary_bytes(
    backbone: Backbone,
    at: Boundary,
    n_images: int,
    n_texts: int,
    length: int,
    precision: CachePrecision,
) -> int:
    """Bytes of both towers' activations at a boundary of the image tower."""
    if at == EMBEDDING:
        per_image = per_text = backbone.embed_dim
    else:
        per_image = math.prod(backbone.image.token_shape(int(at)))
        per_text = math.prod(backbone.text.token_shape(length))
    numbers = n_images * per_image + n_texts * per_text
    return numbers * stored_dtype(at, precision).itemsize
