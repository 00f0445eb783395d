"""Towers opened at every block give what open_clip itself gives."""

import numpy as np
import pytest
import torch

from qa_core.backbones.backbone import Backbone, load_backbone
from qa_core.errors import UserError
from qa_core.settings.model import BackboneConfig

PROMPTS = ["a", "a red circle to the left of a large blue star", "two"]


@pytest.fixture(scope="module")
def narrow(narrow_models: None) -> Backbone:
    return load_backbone(BackboneConfig("narrow-3", "none")).eval()


@torch.no_grad()
def test_image_tower_equals_open_clips(narrow: Backbone) -> None:
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    ours = narrow.encode_images(pixels)
    theirs = narrow.clip.encode_image(narrow.normalise_pixels(pixels), normalize=True)
    torch.testing.assert_close(ours, theirs)
    tokens = narrow.image.stem(narrow.normalise_pixels(pixels))
    halfway = narrow.image.run_blocks(tokens, 0, 2)
    torch.testing.assert_close(narrow.image.tail(narrow.image.run_blocks(halfway, 2, 3)), theirs)


@torch.no_grad()
def test_cutting_texts_to_the_longest_is_exact(narrow: Backbone) -> None:
    ids = narrow.tokenize(PROMPTS)
    assert ids.shape[1] == int(ids.argmax(dim=1).max()) + 1 < 77
    theirs = narrow.clip.encode_text(narrow.tokenizer(PROMPTS), normalize=True)
    torch.testing.assert_close(narrow.encode_texts(ids), theirs)


def test_the_last_block_at_one_position_is_exact_in_value_and_gradient(narrow: Backbone) -> None:
    pixels = narrow.normalise_pixels(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8))
    ids = narrow.tokenize(PROMPTS)
    image, text = narrow.image, narrow.text
    shortened = [
        lambda: image.embed(image.run_blocks(image.stem(pixels), 0, 1), 1),
        lambda: text.embed(text.run_blocks(text.stem(ids), ids, 0, 1), ids, 1),
    ]
    whole = [
        lambda: image.tail(image.run_blocks(image.stem(pixels), 0, 3)),
        lambda: text.tail(text.run_blocks(text.stem(ids), ids, 0, 2), ids),
    ]
    for ours, theirs in zip(shortened, whole, strict=True):
        torch.testing.assert_close(ours(), theirs())
        mine, expected = (_gradients(narrow, embed().sin().sum()) for embed in (ours, theirs))
        assert mine.keys() == expected.keys() and len(mine) > 20
        for name, gradient in expected.items():
            torch.testing.assert_close(mine[name], gradient, msg=name)


def _gradients(backbone: Backbone, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    backbone.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in backbone.named_parameters() if p.grad is not None}


def test_random_weights_are_the_same_every_time(narrow: Backbone) -> None:
    assert load_backbone(BackboneConfig("narrow-3", "none")).sha256 == narrow.sha256


def test_groups_hold_every_parameter_once(narrow: Backbone) -> None:
    members = [m for group in narrow.groups().values() for m in group]
    parameters = [
        id(p)
        for m in members
        for p in ([m] if isinstance(m, torch.nn.Parameter) else m.parameters())
    ]
    assert len(parameters) == len(set(parameters))
    assert set(parameters) == {id(p) for p in narrow.parameters()}


def test_unknown_and_unsupported_backbones_are_named(narrow_models: None) -> None:
    with pytest.raises(UserError, match=r"ViT-B-33.*Near it: ViT-B"):
        load_backbone(BackboneConfig("ViT-B-33", "none"))
    with pytest.raises(UserError, match="openai-weights is neither a file nor published weights"):
        load_backbone(BackboneConfig("ViT-B-32", "openai-weights"))
    with pytest.raises(UserError, match="no published weights"):
        load_backbone(BackboneConfig("narrow-3", "default"))


def test_pixels_are_normalised_as_in_pretraining(narrow: Backbone) -> None:
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    expected = (1 - np.array([0.48145466, 0.4578275, 0.40821073])) / np.array(
        [0.26862954, 0.26130258, 0.27577711]
    )
    np.testing.assert_allclose(narrow.normalise_pixels(white)[0, :, 0, 0], expected, rtol=1e-5)
