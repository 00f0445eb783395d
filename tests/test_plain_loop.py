"""The yardstick is honest: it freezes what it says, and it learns."""

from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from torchvision.transforms import Compose

from benchmarks.plain_loop import ALL_BLOCKS, PlainLoop, RatedFiles, encode_padded


@pytest.mark.parametrize("blocks", [0, 2, ALL_BLOCKS])
def test_an_epoch_changes_what_trains_and_nothing_else(
    narrow_models: None, small_table: Path, blocks: int
) -> None:
    frame = pd.read_csv(small_table)
    mos = (frame[["mos_quality", "mos_align"]].to_numpy() - 1) / 4
    paths = [small_table.parent / name for name in frame["name"]]
    rated = RatedFiles(paths, frame["prompt"].tolist(), mos)
    clip, _, transform = open_clip.create_model_and_transforms("narrow-3", pretrained=None)
    assert isinstance(transform, Compose)
    tokenizer = open_clip.get_tokenizer("narrow-3")
    loop = PlainLoop(clip, transform, tokenizer, rated, rated, blocks, batch_size=8)
    error = squared_error(loop)
    before = {name: value.clone() for name, value in loop.model.state_dict().items()}
    first = loop.epoch()
    changed = {n for n, v in loop.model.state_dict().items() if not torch.equal(v, before[n])}
    assert any(name.startswith("q_base") for name in changed)
    block = "clip.visual.transformer.resblocks.{}.mlp.c_fc.weight"
    assert (block.format(0) in changed) == (blocks == 0)
    assert (block.format(2) in changed) == (blocks != ALL_BLOCKS)
    assert all(np.isfinite(value) for value in first)
    for _ in range(10):
        loop.epoch()
    assert squared_error(loop) < 0.95 * error


@torch.no_grad()
def test_padded_prompts_have_the_embeddings_of_whole_ones(narrow_models: None) -> None:
    clip, _, _ = open_clip.create_model_and_transforms("narrow-3", pretrained=None)
    tokens = open_clip.get_tokenizer("narrow-3")(["a cat", "a small dark purple ring"])
    whole = clip.eval().encode_text(tokens)  # pyright: ignore[reportCallIssue]
    torch.testing.assert_close(encode_padded(clip, tokens), whole)


@torch.no_grad()
def squared_error(loop: PlainLoop) -> float:
    """Mean squared error of both scores on the validation part."""
    loop.model.eval()
    errors = [(loop.model(image, ids) - mos) ** 2 for image, ids, mos in loop.validation_loader]
    return float(torch.cat(errors).mean())
