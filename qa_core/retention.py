"""How much of CLIP's alignment space survived training: embeds a pool of pairs before and after."""

import functools
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch

from qa_core.activations import count_views
from qa_core.alignment import (
    AlignmentRetention,
    alignment_retention,
    image_to_text_r_at_1,
    retention_r_at_1,
    shuffled_pairs,
)
from qa_core.backbone import Backbone
from qa_core.data.splits import Split
from qa_core.data.synthetic.scenes import alignment_pairs
from qa_core.model import QualityModel
from qa_core.workspace import Workspace

POOL_SIZE = 500
_SEED = 0
_CHUNK = 64

Embedded = tuple[np.ndarray, np.ndarray]
"""Normalised image and text embeddings (n, embed_dim) each."""

_PRETRAINED: WeakKeyDictionary[Workspace, Embedded] = WeakKeyDictionary()


@dataclass(frozen=True)
class AlignmentPool:
    """Images (n, [views,] 3, size, size) as uint8 and their prompts."""

    images: np.ndarray
    prompts: list[str]


@functools.cache
def _rendered_pool() -> AlignmentPool:
    images, prompts = alignment_pairs(POOL_SIZE, _SEED)
    return AlignmentPool(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), prompts)


def alignment_pool(workspace: Workspace, split: Split) -> AlignmentPool:
    """Rendered pairs of the pretraining's kind for the embedded backbone, else the test part."""
    if not workspace.spec.published:
        return _rendered_pool()
    prompts = workspace.table.frame["prompt"].iloc[split.test].astype(str).tolist()
    return AlignmentPool(np.asarray(workspace.images[split.test]), prompts)


def measure_retention(
    model: QualityModel, workspace: Workspace, split: Split
) -> tuple[dict[str, float], dict[str, str]]:
    """Retention measures by name, and why others are undefined.

    1 by construction where nothing of CLIP trains.
    """
    names = ("alignment_retention", "alignment_retention_matched", "alignment_retention_shuffled")
    pool = alignment_pool(workspace, split)
    groups = np.asarray(pool.prompts)
    before = _embed_pretrained(workspace, split)
    if model.plan.towers_frozen:
        after, kept = before, AlignmentRetention(1.0, 1.0, 1.0, None)
    else:
        after = _embed(model.backbone, pool)
        kept = _retention(after, before, groups)
    values = dict(zip(names, (kept.mean, kept.matched, kept.shuffled), strict=True))
    ratio, reason = retention_r_at_1(
        image_to_text_r_at_1(*after, groups),
        image_to_text_r_at_1(*before, groups),
        len(np.unique(groups)),
    )
    undefined = {name: str(kept.reason) for name, value in values.items() if value is None}
    found = {name: value for name, value in values.items() if value is not None}
    if ratio is None:
        undefined["retention_r_at_1"] = str(reason)
    else:
        found["retention_r_at_1"] = ratio
    return found, undefined


def _retention(after: Embedded, before: Embedded, groups: np.ndarray) -> AlignmentRetention:
    try:
        shuffled = shuffled_pairs(groups, _SEED)
    except ValueError as error:  # one prompt has most of a small test part
        return AlignmentRetention(None, None, None, str(error))
    return alignment_retention(
        _cosines(after), _cosines(before), _cosines(after, shuffled), _cosines(before, shuffled)
    )


def _embed_pretrained(workspace: Workspace, split: Split) -> Embedded:
    """Embeddings of the pool before training, computed once for all runs of a workspace."""
    if workspace.spec.published:
        known = workspace.pretrained_embeddings()
        return known.image[split.test], known.text[split.test]
    if workspace not in _PRETRAINED:
        _PRETRAINED[workspace] = _embed(workspace.backbone, _rendered_pool())
    return _PRETRAINED[workspace]


def _cosines(embedded: Embedded, order: np.ndarray | None = None) -> np.ndarray:
    image, text = embedded
    return (image * (text if order is None else text[order])).sum(axis=1)


@torch.inference_mode()
def _embed(backbone: Backbone, pool: AlignmentPool) -> Embedded:
    device = backbone.pixel_mean.device
    images, texts = [], []
    chunk = max(1, _CHUNK // count_views(pool.images))
    for start in range(0, len(pool.prompts), chunk):
        pixels = torch.from_numpy(pool.images[start : start + chunk])
        images.append(backbone.encode_images(pixels.to(device)).cpu().numpy())
        ids = backbone.tokenize(pool.prompts[start : start + chunk])
        texts.append(backbone.encode_texts(ids.to(device)).cpu().numpy())
    return np.concatenate(images), np.concatenate(texts)
