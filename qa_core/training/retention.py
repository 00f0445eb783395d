"""How much of CLIP's alignment training has kept: embeds a pool of pairs before and after."""

import dataclasses
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch

from qa_core.config import RunConfig, with_settings
from qa_core.data.splits import Split
from qa_core.data.synthetic.scenes import kept_alignment_pairs
from qa_core.features.inputs import Features
from qa_core.features.workspace import Workspace
from qa_core.measures.alignment import (
    RENDERED_PAIRS,
    AlignmentRetention,
    alignment_retention,
    image_to_text_r_at_1,
    retention_r_at_1,
    shuffled_pairs,
)
from qa_core.model.quality_model import QualityModel
from qa_core.modes import BackboneSpec
from qa_core.system.memory import in_pieces_that_fit

_SEED = 0
_CHUNK = 64

Embedded = tuple[np.ndarray, np.ndarray]
"""Normalised image and text embeddings (n, embed_dim) each."""

_RENDERED: WeakKeyDictionary[Workspace, Workspace] = WeakKeyDictionary()
"""By the whole workspace: all parts of it measure retention on the same pairs."""


def pool_size(spec: BackboneSpec, split: Split) -> int:
    """How many pairs retention is measured on."""
    return len(split.test) if spec.published else RENDERED_PAIRS


def alignment_pool(workspace: Workspace, split: Split) -> tuple[Workspace, np.ndarray]:
    """Where the pairs are, and in which rows.

    For the embedded backbone rendered ones of the pretraining's kind, else the test part.
    """
    if workspace.spec.published:
        return workspace, split.test
    workspace = workspace.whole
    if workspace not in _RENDERED:
        images, prompts = kept_alignment_pairs(RENDERED_PAIRS, _SEED, workspace.cache_dir)
        table = dataclasses.replace(
            workspace.table, frame=pd.DataFrame({"prompt": prompts}), draw=None
        )
        pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        cache, device = workspace.cache_dir, workspace.device
        _RENDERED[workspace] = Workspace(table, pixels, workspace.backbone, cache, device)
    return _RENDERED[workspace], np.arange(RENDERED_PAIRS)


def measure_retention(
    model: QualityModel, config: RunConfig, workspace: Workspace, split: Split
) -> tuple[dict[str, float], dict[str, str]]:
    """Retention measures by name, and why others are undefined.

    1 by construction where nothing of CLIP trains.
    """
    names = ("alignment_retention", "alignment_retention_matched", "alignment_retention_shuffled")
    pool, rows = alignment_pool(workspace, split)
    groups = pool.table.frame["prompt"].to_numpy(str)[rows]
    pretrained = pool.pretrained_embeddings()
    before = pretrained.image[rows], pretrained.text[rows]
    if model.plan.towers_frozen:
        after, kept = before, AlignmentRetention(1.0, 1.0, 1.0, None)
    else:
        after = _embed(model, pool.features(_exact(config)), rows, pool.device)
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


def _exact(config: RunConfig) -> RunConfig:
    """The configuration without antonym prompts and without half-precision activations."""
    cached = config.train.cache and config.train.cache_precision == "full"
    return with_settings(config, antonym_prompts=False, cache=cached)


def _retention(after: Embedded, before: Embedded, groups: np.ndarray) -> AlignmentRetention:
    try:
        shuffled = shuffled_pairs(groups, _SEED)
    except ValueError as error:  # one prompt has most of a small test part
        return AlignmentRetention(None, None, None, str(error))
    return alignment_retention(
        _cosines(after), _cosines(before), _cosines(after, shuffled), _cosines(before, shuffled)
    )


def _cosines(embedded: Embedded, order: np.ndarray | None = None) -> np.ndarray:
    image, text = embedded
    return (image * (text if order is None else text[order])).sum(axis=1)


@torch.inference_mode()
def _embed(model: QualityModel, features: Features, rows: np.ndarray, device: str) -> Embedded:
    was_training = model.training
    model.eval()

    def attempt(at_once: int) -> list[tuple[np.ndarray, np.ndarray]]:
        chunks: list[tuple[np.ndarray, np.ndarray]] = []
        for start in range(0, len(rows), at_once):
            batch = features.batch(rows[start : start + at_once], device)
            text = model.embed_texts(batch)[batch.text_of]
            chunks.append((model.embed_images(batch).cpu().numpy(), text.cpu().numpy()))
        return chunks

    chunks, _ = in_pieces_that_fit(max(1, _CHUNK // features.views), attempt)
    model.train(was_training)
    images, texts = zip(*chunks, strict=True)
    return np.concatenate(images), np.concatenate(texts)
