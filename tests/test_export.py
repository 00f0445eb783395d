"""Exports compute what the checkpoint computes, in ONNX, in open_clip and in transformers."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import open_clip
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from experiments.export import ExportArgs, export
from qa_core.backbones.backbone import Backbone, load_backbone, rebuild_backbone
from qa_core.backbones.blueprint import Blueprint
from qa_core.backbones.transformers_weights import from_transformers, to_transformers
from qa_core.config import run_config_from_flat
from qa_core.data.decode import image_pixels
from qa_core.errors import UserError
from qa_core.model.lora import fold_low_rank_changes
from qa_core.model.quality_model import QualityModel
from qa_core.modes import resolve
from qa_core.scorer import Scorer
from qa_core.serving.clip_folders import write_open_clip, write_transformers
from qa_core.serving.export_card import export_card
from qa_core.serving.onnx_parts import (
    HEADS,
    TEXT,
    check_onnx,
    require_libraries,
    score_by_onnx,
    write_onnx,
)
from qa_core.settings.model import BackboneConfig
from tests.families import write_configs
from tests.test_scorer import PROMPTS, checkpoint, pictures, workspace  # noqa: F401

TEXTS = ["a red circle, left of a blue star!", "two", "a very long prompt " * 40]
MODES: dict[str, dict[str, Any]] = {
    "residual": {"fusion_inputs": ("img", "product", "cos"), "image_view": "crops"},
    "direct": {"residual_learning": False, "use_two_branch": True, "image_view": "centre"},
    "refined": {"residual_learning": False, "use_refinement": True, "refinement_dim": 16},
    "antonym": {"antonym_prompts": True},
    "lora": {"lora_rank": 2, "partial_freeze": True, "freeze_layers": 2},
    "adapter": {"adapter_reduction": 4, "partial_freeze": True, "freeze_layers": 2},
}


def scorer_of(ranges: tuple[Any, Any] = ((1.0, 5.0), (0.0, 10.0)), **flags: Any) -> Scorer:
    """A scorer of random weights, none of them zero, so that a lost one is seen."""
    settings = {"backbone": "narrow-3", "pretrained": "none", "threads": 1} | flags
    config = run_config_from_flat(settings)
    backbone = load_backbone(config.clip)
    config = resolve(config, backbone.spec)
    model = QualityModel(backbone, config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "logit_scale" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    quality, consistency = ranges
    content = {"range_quality": quality, "range_consistency": consistency}
    return Scorer(model, content | {"config": config.flat()}, "cpu")


@pytest.mark.parametrize("mode", MODES)
def test_onnx_scores_as_the_checkpoint_does(narrow_models: None, tmp_path: Path, mode: str) -> None:
    scorer = scorer_of(**MODES[mode])
    expected = scorer.score(pictures(), PROMPTS)
    write_onnx(tmp_path / "onnx", scorer)
    found = score_by_onnx(tmp_path / "onnx", scorer, pictures(), PROMPTS)
    assert list(found) == [name for name in expected if not name.endswith("_mos")]
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5, err_msg=name)
    assert len(set(expected["c"])) > 3
    assert check_onnx(tmp_path / "onnx", scorer, pictures(), PROMPTS) < 1e-5


def test_where_quality_alone_is_scored_no_text_is_read(narrow_models: None, tmp_path: Path) -> None:
    scorer = scorer_of(((1.0, 5.0), None))
    write_onnx(tmp_path / "onnx", scorer)
    assert not (tmp_path / "onnx" / TEXT).exists()
    heads = onnx.load(tmp_path / "onnx" / HEADS).graph
    assert [one.name for one in heads.input] == ["img"]
    assert [one.name for one in heads.output] == ["q", "q_base", "q_delta"]
    assert check_onnx(tmp_path / "onnx", scorer, pictures(), PROMPTS) < 1e-5


def opened_by_open_clip(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of pictures and texts by open_clip alone, its transforms and tokenizer too."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    pixels = torch.stack([transform(picture) for picture in pictures()])  # type: ignore[operator]
    with torch.no_grad():
        image = model.encode_image(pixels, normalize=True)  # type: ignore[operator]
        return image, model.encode_text(tokenizer(TEXTS), normalize=True)  # type: ignore[operator]


def opened_by_transformers(
    folder: Path, squares: list[Image.Image]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by transformers alone, which resizes otherwise than Pillow: of squares."""
    model = CLIPModel.from_pretrained(folder).eval()
    processor, tokenizer = (
        kind.from_pretrained(folder) for kind in (AutoImageProcessor, AutoTokenizer)
    )
    ids = tokenizer(TEXTS, padding="max_length", truncation=True, return_tensors="pt").input_ids
    pixels = processor(squares, return_tensors="pt").pixel_values
    with torch.no_grad():
        found: Any = model(input_ids=ids, pixel_values=pixels)
    return normalize(found.image_embeds, dim=-1), normalize(found.text_embeds, dim=-1)


def ours(backbone: Backbone) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = np.stack([image_pixels(one, backbone.image_size) for one in pictures()])
    with torch.no_grad():
        image = backbone.encode_images(torch.from_numpy(pixels))
        return image, backbone.encode_texts(backbone.tokenize(TEXTS))


def changed(old: Backbone, **architecture: Any) -> Backbone:
    """The same weights in another architecture, and other pixels."""
    blueprint = Blueprint("x", old.blueprint.architecture | architecture, old.blueprint.tokenizer)
    backbone = rebuild_backbone(blueprint).eval()
    backbone.load_state_dict(old.state_dict())
    for pixels in (backbone.pixel_mean, backbone.pixel_std):
        pixels.copy_(torch.tensor([0.3, 0.4, 0.5]).view(1, 3, 1, 1))
    return backbone


@pytest.mark.parametrize("kind", ["gelu", "quick_gelu", "qa-tiny"])
def test_open_clip_and_transformers_give_our_embeddings(
    narrow_models: None, tmp_path: Path, kind: str
) -> None:
    tiny: dict[str, Any] = (
        {"backbone": "qa-tiny", "pretrained": "default"} if kind == "qa-tiny" else {}
    )
    scorer = scorer_of(lora_rank=2, partial_freeze=True, freeze_layers=2, **tiny)
    fold_low_rank_changes(scorer.model)
    backbone = scorer.model.backbone
    backbone = backbone if tiny else changed(backbone, quick_gelu=kind == "quick_gelu")
    write_open_clip(tmp_path / "open_clip", backbone, "whole")
    write_transformers(tmp_path / "transformers", backbone)
    expected = ours(backbone)
    size = backbone.image_size
    squares = [one.resize((size, size), Image.Resampling.BICUBIC) for one in pictures()]
    for found in (
        opened_by_open_clip(tmp_path / "open_clip"),
        opened_by_transformers(tmp_path / "transformers", squares),
        *(ours(load_backbone(BackboneConfig(str(one))).eval()) for one in tmp_path.iterdir()),
    ):
        for own, theirs in zip(expected, found, strict=True):
            torch.testing.assert_close(theirs, own, atol=1e-5, rtol=0)
    assert not torch.allclose(expected[0][0], expected[0][1], atol=1e-3)


def test_names_turned_round_twice_are_the_same(narrow_models: None) -> None:
    state = load_backbone(BackboneConfig("narrow-3", "none")).clip.state_dict()
    again = from_transformers(to_transformers(state))
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("family", "open_clip_says", "transformers_says"),
    [
        ("resnet", None, "has no ResNet"),
        ("vit_custom_blocks", None, "has no qk_norm, scale_attn_inner"),
        ("convnext", None, "has no timm_model_name, timm_pool"),
        ("siglip", None, "has no custom_text, init_logit_bias"),
        ("coca", "writer of captions", "has no custom_text, multimodal_cfg"),
    ],
)
def test_what_another_library_cannot_be_is_a_sentence(
    tmp_path: Path, family: str, open_clip_says: str | None, transformers_says: str
) -> None:
    write_configs(tmp_path)
    open_clip.add_model_config(tmp_path)
    backbone = load_backbone(BackboneConfig(f"family-{family}", "none")).eval()
    with pytest.raises(UserError, match=transformers_says):
        write_transformers(tmp_path / "transformers", backbone)
    if open_clip_says is None:
        write_open_clip(tmp_path / "open_clip", backbone, "whole")
        model = open_clip.create_model(f"local-dir:{tmp_path / 'open_clip'}")
        assert model.state_dict().keys() == backbone.clip.state_dict().keys()
    else:
        with pytest.raises(UserError, match=open_clip_says):
            write_open_clip(tmp_path / "open_clip", backbone, "whole")
    assert not (tmp_path / "transformers").exists()


def test_adapters_stay_in_onnx(narrow_models: None, tmp_path: Path) -> None:
    backbone = scorer_of(**MODES["adapter"]).model.backbone
    for write in (
        lambda: write_open_clip(tmp_path / "x", backbone, "whole"),
        lambda: write_transformers(tmp_path / "x", backbone),
    ):
        with pytest.raises(UserError, match="hold adapters"):
            write()


def test_the_command_writes_what_was_checked_and_says_how_to_use_it(
    checkpoint: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    export(ExportArgs(checkpoint, tmp_path / "out"))
    files = sorted(str(file.relative_to(tmp_path / "out")) for file in tmp_path.rglob("*.*"))
    assert [name for name in files if name.endswith((".onnx", ".safetensors", ".md"))] == [
        "README.md",
        *(f"onnx/{part}.onnx" for part in ("heads", "image", "text")),
        "open_clip/open_clip_model.safetensors",
        "transformers/model.safetensors",
    ]
    said, page = capsys.readouterr().out, (tmp_path / "out" / "README.md").read_text()
    assert (
        "scores of 100 images differ by at most" in said
        and said.count("embeddings differ by at most") == 2
    )
    for words in (
        "uint8 (batch, 3, 32, 32)",
        "mean [0.481455, 0.457828, 0.408211]",
        "int64 (batch, 77)",
        "q = clamp(q_base + 0.2 * q_delta, 0, 1)",
        "quality is 1 + q * (5 - 1)",
        "resized to the square by bicubic interpolation",
    ):
        assert words in page


def test_what_scores_otherwise_is_refused_and_nothing_is_written(
    checkpoint: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from qa_core.serving import onnx_parts

    def write_others(folder: Path, scorer: Scorer) -> None:
        next(scorer.model.heads.parameters()).data += 0.01
        write_onnx(folder, scorer)

    monkeypatch.setattr(onnx_parts, "write_onnx", write_others)
    with pytest.raises(UserError, match=r"differ by \d\.\de-0[1-3] from the checkpoint's.*nothing"):
        export(ExportArgs(checkpoint, tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_without_the_libraries_a_sentence_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"onnx and onnxruntime: pip install 'clip-qa\[export\]'"):
        require_libraries()


def test_the_page_tells_each_mode_apart(narrow_models: None) -> None:
    page = {mode: export_card(scorer_of(**flags), {"onnx": "x"}) for mode, flags in MODES.items()}
    assert "predicted directly" in page["direct"] and "small transformer" in page["refined"]
    assert "badly, poorly, fairly, well, perfectly" in page["antonym"]
    assert "ten views" in page["residual"] and "native resolution" in page["direct"]


def test_the_page_s_formulas_are_those_of_the_scores(narrow_models: None) -> None:
    scorer = scorer_of(residual_scale_c=0.3)
    drawn = [Image.new("RGB", (32, 32), (k, 90, 200 - k)) for k in range(0, 200, 40)]
    found = scorer.score(list(drawn), [f"prompt {k}" for k in range(len(drawn))])
    page = export_card(scorer, {"onnx": "x"})
    formulas = re.findall(r"(\w) = clamp\((\w+) \+ ([\d.]+) \* (\w+), 0, 1\)", page)
    assert [name for name, *_ in formulas] == ["q", "c"]
    for name, base, scale, delta in formulas:
        value = np.clip(found[base] + float(scale) * found[delta], 0, 1)
        np.testing.assert_allclose(found[name], value, atol=1e-6)
