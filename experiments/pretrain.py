"""Contrastive pretraining of the embedded backbone from scratch (`make backbone`).

Batches hold four degraded versions of each scene, so that only the words of quality tell them
apart; half of the patches are dropped in the first four fifths of the steps.
"""

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from qa_core.backbones.registry import (
    TINY_CONFIG,
    TINY_MERGES,
    TINY_NAME,
    TINY_WEIGHTS,
    register_tiny,
    tiny_tokenizer,
)
from qa_core.backbones.tiny_vocabulary import BASE_TOKENS, learn_merges, write_merges
from qa_core.data.synthetic.captions import vocabulary
from qa_core.data.synthetic.grammar import Scene
from qa_core.data.synthetic.render import SIZE
from qa_core.data.synthetic.scenes import VERSIONS, alignment_pairs, render_pretraining_pairs
from qa_core.data.synthetic.seen import SEEN_FILE, seen_hashes

SEED = 0
PATCH, WIDTH = 8, 64
N_UNSEEN = 1000


SCENES, BATCH_SCENES = 24_000, 48
PATCH_DROPOUT = 0.5
WEIGHT_DECAY = 0.05


@dataclass(frozen=True)
class Stage:
    """One stage of the training, with an optimiser of its own.

    Attributes:
        steps: Optimiser steps.
        lr: Peak learning rate of AdamW.
        warmup: Steps of the linear warm-up.
        horizon: Step at which the cosine would reach zero.
        full_from: Step from which all patches are shown.
        alike: Scenes side by side in a batch that share looks; 1: any.
    """

    steps: int
    lr: float
    warmup: int
    horizon: int
    full_from: int
    alike: int


STAGES = (
    Stage(steps=2500, lr=1.5e-3, warmup=150, horizon=3300, full_from=2500, alike=1),
    Stage(steps=1050, lr=8e-4, warmup=50, horizon=1050, full_from=890, alike=4),
)
"""First any scenes: those of a batch differ in colours, backgrounds and quality. Then look-alikes,
which differ only in shape, count, size and relation."""


@dataclass(frozen=True)
class Pairs:
    """Pretraining pairs as tensors.

    Attributes:
        scenes: What is shown (scenes).
        images: (scenes, VERSIONS, 3, size, size), uint8.
        tokens: (scenes, VERSIONS, context), int64.
        clean: (scenes, VERSIONS), bool.
    """

    scenes: list[Scene]
    images: Tensor
    tokens: Tensor
    clean: Tensor


def write_config() -> None:
    """Write the tokenizer's merges and the model's configuration."""
    merges = learn_merges(vocabulary())
    write_merges(merges, TINY_MERGES)
    config = {
        "embed_dim": WIDTH,
        "quick_gelu": False,
        "vision_cfg": {
            "image_size": SIZE,
            "layers": 12,
            "width": WIDTH,
            "head_width": 32,
            "patch_size": PATCH,
        },
        "text_cfg": {
            "context_length": 40,
            "vocab_size": BASE_TOKENS + len(merges),
            "width": WIDTH,
            "heads": 2,
            "layers": 4,
        },
    }
    TINY_CONFIG.write_text(json.dumps(config, indent=2) + "\n")


def prepare(n_scenes: int) -> Pairs:
    """Render and tokenize the pretraining pairs."""
    rendered = render_pretraining_pairs(n_scenes, SEED)
    tokens = tiny_tokenizer()([text for texts in rendered.captions for text in texts])
    images = torch.from_numpy(rendered.images).permute(0, 1, 4, 2, 3).contiguous()
    clean = torch.from_numpy(rendered.clean)
    return Pairs(rendered.scenes, images, tokens.view(n_scenes, VERSIONS, -1), clean)


def normalise(images: Tensor) -> Tensor:
    """Network input of uint8 images (batch, 3, size, size), with open_clip's default statistics."""
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(1, 3, 1, 1)
    return (images.float() / 255 - mean) / std


def embed_texts(model: Any, tokens: Tensor) -> Tensor:
    """Normalised text embeddings (batch, width), cut to the batch's longest text.

    Attention is causal and the end token comes last, so the cut changes nothing but the time.
    """
    ends = tokens.argmax(dim=1)
    longest = int(ends.max()) + 1
    x = model.token_embedding(tokens[:, :longest]) + model.positional_embedding[:longest]
    x = model.transformer(x, attn_mask=model.attn_mask[:longest, :longest])
    pooled = model.ln_final(x[torch.arange(len(x)), ends])
    return functional.normalize(pooled @ model.text_projection, dim=-1)


def start_patches_from_dct(model: Any, images: Tensor) -> None:
    """Set the patch embedding to whitened cosine patterns: 44 of lightness, 10 of each chroma."""
    k, n = torch.meshgrid(torch.arange(PATCH), torch.arange(PATCH), indexing="ij")
    basis = torch.cos(math.pi * (n + 0.5) * k / PATCH)  # (frequency, position)
    basis = basis / basis.norm(dim=1, keepdim=True)
    order = sorted(
        ((u, v) for u in range(PATCH) for v in range(PATCH)), key=lambda uv: (sum(uv), uv)
    )
    channels = torch.tensor([[1.0, 1, 1], [1, -1, 0], [0.5, 0.5, -1]])
    filters = [
        torch.einsum("c,y,x->cyx", channel, basis[u], basis[v])
        for channel, count in zip(channels, (44, 10, 10), strict=True)
        for u, v in order[:count]
    ]
    weight = torch.stack(filters)
    responses = functional.conv2d(normalise(images), weight, stride=PATCH)
    with torch.no_grad():
        model.visual.conv1.weight.copy_(weight / responses.std(dim=(0, 2, 3)).view(-1, 1, 1, 1))


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, clean: Tensor) -> Tensor:
    """Symmetric InfoNCE (Radford et al., ICML 2021); identical pictures are no negatives.

    Args:
        image: Normalised embeddings (batch, width), `VERSIONS` of a scene side by side.
        text: Normalised embeddings (batch, width).
        scale: Inverse temperature.
        clean: Which pictures are undistorted (batch,).
    """
    scene = torch.arange(len(image)) // VERSIONS
    same = (scene[:, None] == scene[None]) & clean[:, None] & clean[None]
    same.fill_diagonal_(False)
    logits = (scale * image @ text.T).masked_fill(same, -1e4)  # (batch, batch)
    target = torch.arange(len(image))
    forward = functional.cross_entropy(logits, target)
    return (forward + functional.cross_entropy(logits.T, target)) / 2


def r_at_1(model: Any, images: Tensor, tokens: Tensor) -> float:
    """Image-to-text recall at 1 over all pairs given."""
    model.eval()
    with torch.no_grad():
        image = model.encode_image(normalise(images), normalize=True)
        nearest = (image @ embed_texts(model, tokens).T).argmax(dim=1)
    model.train()
    return float((nearest == torch.arange(len(images))).float().mean())


def make_optimizer(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """AdamW with weight decay on matrices alone."""
    decayed, free = [], []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or "embedding" in name
        (free if plain else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}]
    groups.append({"params": free, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))


def lr_share(step: int, stage: Stage) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then cosine to zero."""
    if step < stage.warmup:
        return (step + 1) / stage.warmup
    done = (step - stage.warmup) / (stage.horizon - stage.warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


def order_scenes(scenes: Sequence[Scene], alike: int, rng: np.random.Generator) -> np.ndarray:
    """All scenes (n,) in random order, but look-alikes side by side in runs of at most `alike`.

    A random half of the scenes is matched by colours and background, the other by shapes with
    their colours.
    """
    shuffled = rng.permutation(len(scenes))
    if alike == 1:
        return shuffled
    clusters: dict[tuple, list[int]] = {}
    for place, index in enumerate(shuffled.tolist()):
        scene = scenes[index]
        if place % 2:
            look = (*sorted(g.colour for g in scene.groups), scene.background)
        else:
            look = tuple(sorted((g.shape, g.colour) for g in scene.groups))
        clusters.setdefault(look, []).append(index)
    runs = [
        cluster[start : start + alike]
        for cluster in clusters.values()
        for start in range(0, len(cluster), alike)
    ]
    return np.concatenate([runs[k] for k in rng.permutation(len(runs))])


def batches(scenes: Sequence[Scene], stage: Stage, seed: int) -> Iterator[Tensor]:
    """Scenes (BATCH_SCENES,) of each step, all of them once before any comes again."""
    rng = np.random.default_rng(seed)
    order = np.empty(0, dtype=np.int64)
    for _ in range(stage.steps):
        if len(order) < BATCH_SCENES:
            order = order_scenes(scenes, stage.alike, rng)
        chosen, order = order[:BATCH_SCENES], order[BATCH_SCENES:]
        yield torch.from_numpy(chosen)


def batch_loss(model: Any, pairs: Pairs, chosen: Tensor) -> Tensor:
    """Contrastive loss over all versions of the chosen scenes."""
    image = model.encode_image(normalise(pairs.images[chosen].flatten(0, 1)), normalize=True)
    text = embed_texts(model, pairs.tokens[chosen].flatten(0, 1))
    return contrastive_loss(image, text, model.logit_scale.exp(), pairs.clean[chosen].flatten())


def train(model: Any, pairs: Pairs, stage: Stage, seed: int) -> None:
    """Run one stage and print its progress."""
    started = time.monotonic()
    optimizer = make_optimizer(model, stage.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_share(step, stage))
    losses: list[float] = []
    model.train()
    model.visual.patch_dropout.prob = PATCH_DROPOUT
    for step, chosen in enumerate(batches(pairs.scenes, stage, seed), start=1):
        if step > stage.full_from:
            model.visual.patch_dropout.prob = 0.0
        loss = batch_loss(model, pairs, chosen)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(50))
        losses.append(loss.item())
        if step % 50 == 0:
            seconds = time.monotonic() - started
            print(f"step {step} loss {np.mean(losses[-50:]):.3f} {seconds:.0f} s", flush=True)


def finish_stage(model: Any, weights: Path) -> None:
    """Print the recall on unseen pairs and write the weights."""
    images, captions = alignment_pairs(N_UNSEEN, seed=1)
    recall = r_at_1(model, torch.from_numpy(images).permute(0, 3, 1, 2), tiny_tokenizer()(captions))
    print(f"R@1 of {N_UNSEEN} unseen pairs {recall:.3f}", flush=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, weights)
    weights.chmod(0o644)


def main() -> None:
    """Write configuration, tokenizer, weights and scenes seen of the embedded backbone."""
    started = time.monotonic()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    write_config()
    register_tiny()
    pairs = prepare(SCENES)
    np.save(SEEN_FILE, seen_hashes(pairs.scenes))
    print(f"{SCENES} scenes rendered in {time.monotonic() - started:.0f} s", flush=True)
    model = open_clip.create_model(TINY_NAME, force_patch_dropout=PATCH_DROPOUT)
    start_patches_from_dct(model, pairs.images[:500].flatten(0, 1))
    for number, stage in enumerate(STAGES):
        if number:
            torch.manual_seed(SEED + number)
        train(model, pairs, stage, SEED + number)
        finish_stage(model, TINY_WEIGHTS)


if __name__ == "__main__":
    main()
