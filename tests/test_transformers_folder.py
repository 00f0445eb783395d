"""Folders that `transformers` wrote give the embeddings that `transformers` gives."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)

from qa_core.backbones.backbone import load_backbone, rebuild_backbone
from qa_core.backbones.blueprint import Blueprint
from qa_core.errors import UserError
from qa_core.settings.model import BackboneConfig
from tests.test_weights import save_tokenizer

PROMPTS = ["A red circle, left of a blue star!", "two", "a very long prompt " * 9]
TOWER = {"hidden_size": 32, "intermediate_size": 44, "num_attention_heads": 4}
TOWER |= {"num_hidden_layers": 3, "initializer_range": 0.2}


def save_clip_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer with a small vocabulary of byte pairs."""
    letters = [chr(c) for c in range(33, 127)]
    vocabulary = [*letters, *(f"{c}</w>" for c in letters), "re", "red</w>"]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    ids = {token: number for number, token in enumerate(vocabulary)}
    pairs: Any = [("r", "e"), ("re", "d</w>")]
    CLIPTokenizer(ids, pairs, model_max_length=24).save_pretrained(folder)


def save_clip(folder: Path, act: str = "quick_gelu", end: int = 191, **options: Any) -> CLIPModel:
    torch.manual_seed(3)
    text = TOWER | {"vocab_size": 192, "max_position_embeddings": 24, "eos_token_id": end}
    vision = TOWER | {"hidden_size": 48, "image_size": 32, "patch_size": 8}
    acts = {"hidden_act": act}
    config = CLIPConfig(text_config=text | acts, vision_config=vision | acts, projection_dim=20)
    model = CLIPModel(config).eval()
    randomise(model)
    model.save_pretrained(folder, **options)
    save_clip_tokenizer(folder)
    return model


def save_siglip(folder: Path, **options: Any) -> SiglipModel:
    text = TOWER | {"vocab_size": 100, "max_position_embeddings": 24, "projection_size": 48}
    vision = TOWER | {"hidden_size": 48, "image_size": 32, "patch_size": 8}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).eval()
    randomise(model)
    model.save_pretrained(folder, **options)
    save_tokenizer(folder)
    return model


def randomise(model: torch.nn.Module) -> None:
    """Biases and norms that are neither 0 nor 1, so that a lost one is seen."""
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)


@torch.no_grad()
def theirs(model: Any, folder: Path, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings by `transformers` alone, its tokenizer and normalisation included."""
    pad = "<|endoftext|>" if isinstance(model, CLIPModel) else "<pad>"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token=pad
    )
    ids = tokenizer(
        PROMPTS, padding="max_length", max_length=24, truncation=True, return_tensors="pt"
    ).input_ids
    found = model(input_ids=ids, pixel_values=pixels)
    return normalize(found.image_embeds, dim=-1), normalize(found.text_embeds, dim=-1)


def images(mean: Any, std: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images as bytes, and normalised."""
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    shaped = [torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std)]
    return pixels, (pixels / 255 - shaped[0]) / shaped[1]


@torch.no_grad()
def assert_equal(folder: Path, model: Any, mean: Any, std: Any) -> None:
    backbone = load_backbone(BackboneConfig(str(folder))).eval()
    pixels, normalised = images(mean, std)
    image, text = theirs(model, folder, normalised)
    torch.testing.assert_close(backbone.encode_images(pixels), image, atol=1e-6, rtol=0)
    found = backbone.encode_texts(backbone.tokenize(PROMPTS))
    torch.testing.assert_close(found, text, atol=1e-6, rtol=0)
    assert float(backbone.clip.logit_scale) == float(model.logit_scale)
    assert not torch.allclose(image[0], image[1], atol=1e-3)


CLIP_MEAN, CLIP_STD = CLIPImageProcessor().image_mean, CLIPImageProcessor().image_std


@pytest.mark.parametrize("act", ["quick_gelu", "gelu", "gelu_pytorch_tanh"])
def test_clip_gives_what_transformers_gives(tmp_path: Path, act: str):
    assert_equal(tmp_path, save_clip(tmp_path, act), CLIP_MEAN, CLIP_STD)


def test_clip_of_older_configs_reads_at_the_highest_id(tmp_path: Path):
    assert_equal(tmp_path, save_clip(tmp_path, end=2), CLIP_MEAN, CLIP_STD)


def test_an_end_token_that_is_not_the_highest_id_is_found(tmp_path: Path):
    model = save_clip(tmp_path, end=189)  # red</w>, which one prompt has
    assert_equal(tmp_path, model, CLIP_MEAN, CLIP_STD)


def test_siglip_gives_what_transformers_gives(tmp_path: Path):
    model = save_siglip(tmp_path)
    assert_equal(tmp_path, model, [0.5] * 3, [0.5] * 3)
    backbone = load_backbone(BackboneConfig(str(tmp_path)))
    assert float(backbone.clip.logit_bias) == float(model.logit_bias)


def test_files_in_parts_and_pixels_of_its_own_are_read(tmp_path: Path):
    model = save_clip(tmp_path, max_shard_size="50KB")
    assert not (tmp_path / "model.safetensors").exists()
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    CLIPImageProcessor(image_mean=mean, image_std=std).save_pretrained(tmp_path)
    assert_equal(tmp_path, model, mean, std)
    next(tmp_path.glob("model-00002*")).unlink()
    with pytest.raises(UserError, match=r"not there: model-00002"):
        load_backbone(BackboneConfig(str(tmp_path)))


def test_vocabulary_and_merges_are_a_tokenizer_too(tmp_path: Path):
    save_clip(tmp_path)
    whole = json.loads((tmp_path / "tokenizer.json").read_text())
    ids = load_backbone(BackboneConfig(str(tmp_path))).tokenize(PROMPTS)
    (tmp_path / "vocab.json").write_text(json.dumps(whole["model"]["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in whole["model"]["merges"])
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    (tmp_path / "tokenizer.json").unlink()
    found = load_backbone(BackboneConfig(str(tmp_path))).tokenize(PROMPTS)
    assert torch.equal(found, ids)


def test_a_folder_without_a_tokenizer_asks_for_one(tmp_path: Path):
    save_clip(tmp_path)
    save_clip_tokenizer(tmp_path / "apart")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"no usable tokenizer\.json.*--tokenizer"):
        load_backbone(BackboneConfig(str(tmp_path)))
    load_backbone(BackboneConfig(str(tmp_path), tokenizer=str(tmp_path / "apart")))


@pytest.mark.parametrize("save", [save_clip, save_siglip])
def test_a_weight_that_is_missing_or_strange_is_named(tmp_path: Path, save: Any):
    save(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    lost = "text_model.encoder.layers.1.self_attn.k_proj.weight"
    save_file({n: v for n, v in state.items() if n != lost} | {"strange": torch.ones(2)}, file)
    with pytest.raises(UserError, match=r"missing: .*resblocks\.1\.attn\.in_proj_weight.*strange"):
        load_backbone(BackboneConfig(str(tmp_path)))


@pytest.mark.parametrize("save", [save_clip, save_siglip])
def test_a_checkpoint_builds_it_again_without_the_folder(tmp_path: Path, save: Any):
    folder = tmp_path / "model"
    save(folder)
    first = load_backbone(BackboneConfig(str(folder))).eval()
    shutil.move(folder, tmp_path / "moved")
    moved = load_backbone(BackboneConfig(str(tmp_path / "moved")))
    assert moved.sha256 == first.sha256
    again = rebuild_backbone(Blueprint.restore(first.blueprint.plain())).eval()
    again.load_state_dict(first.state_dict())
    pixels, _ = images(CLIP_MEAN, CLIP_STD)
    again.pixel_mean.copy_(first.pixel_mean)
    again.pixel_std.copy_(first.pixel_std)
    assert torch.equal(first.encode_images(pixels), again.encode_images(pixels))


def test_other_models_of_transformers_are_refused(tmp_path: Path):
    save_clip(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"model_type": "blip"}, "type 'blip'; those that can be opened are clip and siglip"),
        ({"text_config": 3}, "does not describe a model"),
        ({"vision_config": {"hidden_act": "relu"}}, "activations, \\['quick_gelu', 'relu'\\]"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(UserError, match=message):
            load_backbone(BackboneConfig(str(tmp_path)))


def test_a_photograph_is_seen_alike(tmp_path: Path):
    rng = np.random.default_rng(0)
    model = save_clip(tmp_path)
    image = Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8))
    processor = CLIPImageProcessor(size=32, crop_size=32)
    with torch.no_grad():
        pixels = processor(image, return_tensors="pt").pixel_values
        features: Any = model.get_image_features(pixels)
        expected = normalize(features.pooler_output, dim=-1)
        backbone = load_backbone(BackboneConfig(str(tmp_path))).eval()
        found = backbone.encode_images(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
