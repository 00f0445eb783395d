"""Backbones and tokenizers of strangers that claim absurd sizes, are nested or lie: a sentence."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from qa_core.backbones.backbone import load_backbone
from qa_core.backbones.blueprint import Blueprint
from qa_core.backbones.tokenizers import HubTokenizer, TokenizerFiles
from qa_core.config import run_config_from_flat
from qa_core.errors import UserError, in_words

DEEP = "[" * 100_000 + "]" * 100_000
IMAGE = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
TEXT = {"context_length": 8, "width": 16, "heads": 2, "layers": 1}
OPEN_CLIP = {"embed_dim": 8, "vision_cfg": IMAGE, "text_cfg": TEXT}
TOWER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
CLIP = {
    "model_type": "clip",
    "vision_config": TOWER | {"image_size": 32, "patch_size": 16},
    "text_config": TOWER,
}


def words_on(folder: Path, pretrained: str = "none") -> str:
    """What is said of a folder's backbone, which cannot be used."""
    flags = {"backbone": str(folder), "pretrained": pretrained}
    with pytest.raises((UserError, MemoryError, RuntimeError)) as refusal:
        load_backbone(run_config_from_flat(flags).clip)
    words = in_words(refusal.value)
    assert words is not None
    return words


def changed(model: dict[str, Any], tower: str, name: str, value: object) -> str:
    """A description of a model with another value, as JSON."""
    parts = model if tower == "" else model[tower]
    new = parts | {name: value}
    return json.dumps(new if tower == "" else model | {tower: new})


@pytest.mark.parametrize(
    ("tower", "name", "value", "seen"),
    [
        ("vision_cfg", "layers", 10**9, "more than 999 blocks"),
        ("vision_cfg", "layers", [1, 10**9, 1, 1], "more than 999 blocks"),
        ("vision_cfg", "width", 10**12, "The memory does not suffice"),
        ("text_cfg", "vocab_size", 10**15, "The memory does not suffice"),
        ("vision_cfg", "width", -5, "its description makes no model"),
        ("vision_cfg", "patch_size", 0, "its description makes no model"),
        ("text_cfg", "layers", "many", "its description makes no model"),
        ("text_cfg", "nothing", 1, "its description makes no model"),
        ("vision_cfg", "timm_model_name", "hf-hub:someone/theirs", "not supported"),
        ("", "embed_dim", 0, "no two towers"),
        ("", "text_cfg", None, "no two towers"),
    ],
)
def test_an_absurd_description_of_open_clips_is_refused(
    tower: str, name: str, value: object, seen: str, tmp_path: Path
) -> None:
    told = changed(OPEN_CLIP, tower, name, value)
    (tmp_path / "open_clip_config.json").write_text(f'{{"model_cfg": {told}}}')
    assert seen in words_on(tmp_path)


@pytest.mark.parametrize(
    ("tower", "name", "value", "seen"),
    [
        ("vision_config", "num_hidden_layers", 10**9, "more than 999 blocks"),
        ("vision_config", "num_attention_heads", 0, "does not describe a model"),
        ("vision_config", "hidden_act", [1], "does not describe a model"),
        ("", "vision_config", "small", "does not describe a model"),
    ],
)
def test_an_absurd_description_of_transformers_is_refused(
    tower: str, name: str, value: object, seen: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(changed(CLIP, tower, name, value))
    assert seen in words_on(tmp_path)


@pytest.mark.parametrize("name", ["open_clip_config.json", "config.json"])
def test_a_description_without_end_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(DEEP)
    words_on(tmp_path)


@pytest.mark.parametrize(
    "pixels",
    [DEEP, "[]", '{"image_mean": "x"}', '{"image_std": [1, 1]}', '{"image_mean": [NaN,0,0]}'],
)
def test_pixels_that_are_no_numbers_are_refused(pixels: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CLIP))
    (tmp_path / "preprocessor_config.json").write_text(pixels)
    assert "not three numbers each" in words_on(tmp_path)


def test_a_checkpoint_describes_no_endless_tower() -> None:
    values = {"name": "x", "architecture": OPEN_CLIP | {"text_cfg": TEXT | {"layers": 10**9}}}
    with pytest.raises(UserError, match="more than 999 blocks"):
        Blueprint.restore(values | {"tokenizer": None})


def tensors(header: str | bytes, length: int | None = None) -> bytes:
    """A safetensors file with this header, which claims to be so long."""
    raw = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(8)


def tensor(shape: list[int], end: int) -> str:
    """A header of one tensor."""
    return json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        tensors("{}", 2**60),
        tensors(tensor([2**40, 2**40], 8)),
        tensors(tensor([2**50], 2**52)),
        tensors(tensor([0, 2**62], 0))[:-8],
        tensors('{"a":' + DEEP + "}"),
        tensors(b"\xff\xfe{}"),
    ],
)
def test_weights_of_absurd_sizes_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": OPEN_CLIP}))
    (tmp_path / "weights.safetensors").write_bytes(content)
    assert "--backbone" in words_on(tmp_path, str(tmp_path / "weights.safetensors"))


WORDS = {"type": "WordLevel", "vocab": {"<pad>": 0, "a": 1}, "unk_token": "a"}
REPEATED = [{"SpecialToken": {"id": "a", "type_id": 0}}] * 1000
TEMPLATE = {"single": REPEATED, "pair": [], "special_tokens": {}, "type": "TemplateProcessing"}


@pytest.mark.parametrize(
    ("parts", "seen"),
    [
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}, "be read"),
        ({"model": WORDS | {"unk_token": "absent"}}, "make tokens"),
        (
            {
                "post_processor": TEMPLATE
                | {"special_tokens": {"a": {"id": "a", "ids": [1], "tokens": ["a"]}}}
            },
            "make tokens",
        ),
    ],
)
def test_a_tokenizer_that_fails_is_told(parts: dict[str, Any], seen: str) -> None:
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": []}
    whole |= {"normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None}
    files = TokenizerFiles(json.dumps(whole | {"model": WORDS} | parts), '{"pad_token": 5}')
    with pytest.raises(UserError, match=rf"tokenizer\.json cannot {seen}"):
        HubTokenizer(files, TEXT)(["a picture of nothing"])


@pytest.mark.parametrize("settings", [DEEP, "[1]", "5"])
def test_settings_of_a_tokenizer_that_are_none_are_told(settings: str, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": OPEN_CLIP | {"text_cfg": TEXT | {"hf_tokenizer_name": "x"}}})
    )
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text(settings)
    assert "holds no usable tokenizer.json" in words_on(tmp_path)
