"""The trained towers as folders that open_clip and `transformers` open, without our heads."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from qa_core.backbones.backbone import Backbone, load_backbone
from qa_core.backbones.blueprint import CONFIG_FILE as OPEN_CLIP_CONFIG
from qa_core.backbones.tokenizers import write_byte_pairs, write_tokenizer
from qa_core.backbones.transformers_folder import CONFIG_FILE, describe_clip, is_ours
from qa_core.backbones.transformers_weights import to_transformers
from qa_core.errors import UserError
from qa_core.model.adapter import Adapter
from qa_core.settings.data import ImageView
from qa_core.settings.model import BackboneConfig

TOLERANCE = 1e-5
"""Largest difference of a component of an embedding, which has length 1."""
_OWN = {"hf_tokenizer_name": "this folder", "tokenizer_kwargs": {"clean": "whitespace"}}
"""What open_clip is told where the tokenizer lies in the folder."""


def write_open_clip(folder: Path, backbone: Backbone, view: ImageView) -> None:
    """Write what `open_clip.create_model_and_transforms("local-dir:FOLDER")` opens.

    Raises:
        UserError: open_clip has no such model; it says why.
    """
    architecture = backbone.blueprint.architecture
    _refuse_adapters(backbone)
    if "multimodal_cfg" in architecture:
        raise UserError("The checkpoint does not hold CoCa's writer of captions, which it needs.")
    if is_ours(architecture):
        raise UserError("open_clip cannot build transformers' SigLIP of any shape.")
    folder.mkdir()
    if backbone.blueprint.tokenizer is not None or backbone.blueprint.is_tiny:
        _write_tokenizer(folder, backbone)
        text = architecture["text_cfg"]
        architecture = architecture | {"text_cfg": _OWN | text}
    pixels: dict[str, Any] = {"mean": backbone.pixel_mean.flatten().tolist()}
    pixels |= {"std": backbone.pixel_std.flatten().tolist(), "interpolation": "bicubic"}
    pixels |= {"resize_mode": "longest" if view == "padded" else "squash"}
    _write_json(folder / OPEN_CLIP_CONFIG, {"model_cfg": architecture, "preprocess_cfg": pixels})
    _write_weights(folder / "open_clip_model.safetensors", backbone.clip.state_dict())


def write_transformers(folder: Path, backbone: Backbone) -> None:
    """Write what `transformers.CLIPModel.from_pretrained(FOLDER)` opens.

    Raises:
        UserError: A CLIPModel cannot be this model; it says why.
    """
    _refuse_adapters(backbone)
    end_id = int(backbone.tokenizer([""]).max())
    architecture = backbone.blueprint.architecture
    if architecture.get("text_cfg", {}).get("pool_type") == "eos":
        end_id = architecture["text_cfg"]["eos_id"]
    config = describe_clip(architecture, end_id)
    folder.mkdir()
    _write_json(folder / CONFIG_FILE, config)
    _write_weights(folder / "model.safetensors", to_transformers(backbone.clip.state_dict()))
    side = {"height": backbone.image_size, "width": backbone.image_size}
    pixels = {"image_processor_type": "CLIPImageProcessor", "size": side, "do_center_crop": False}
    pixels |= {"image_mean": backbone.pixel_mean.flatten().tolist()}
    pixels |= {"image_std": backbone.pixel_std.flatten().tolist()}
    _write_json(folder / "preprocessor_config.json", pixels)
    _write_tokenizer(folder, backbone)


def check_folder(folder: Path, backbone: Backbone, images: Tensor, prompts: Sequence[str]) -> float:
    """Largest difference of an embedding's component between a folder, read again, and the model.

    Args:
        folder: As written.
        backbone: The model.
        images: uint8 (batch, 3, size, size).
        prompts: Any texts.

    Raises:
        UserError: It is above `TOLERANCE`.
    """
    again = load_backbone(BackboneConfig(str(folder))).eval()
    with torch.inference_mode():
        found = [_embedded(model, images, prompts) for model in (backbone, again)]
    difference = float((found[0] - found[1]).abs().max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"The folder for {folder.name}, read again, gives embeddings that differ by"
            f" {difference:.1e}, more than {TOLERANCE:g}: nothing is written."
        )
    return difference


def _embedded(backbone: Backbone, images: Tensor, prompts: Sequence[str]) -> Tensor:
    ids = backbone.tokenizer(list(prompts))
    return torch.cat([backbone.encode_images(images), backbone.encode_texts(ids)])


def _refuse_adapters(backbone: Backbone) -> None:
    if any(isinstance(module, Adapter) for module in backbone.clip.modules()):
        raise UserError("Its blocks hold adapters, which no plain CLIP has.")


def _write_tokenizer(folder: Path, backbone: Backbone) -> None:
    """Write a Hugging Face tokenizer: the model's own, or one made of open_clip's byte pairs."""
    files = backbone.blueprint.tokenizer
    if files is None:
        write_byte_pairs(folder, backbone.tokenizer)
    else:
        write_tokenizer(folder, files)


def _write_weights(file: Path, state: dict[str, Tensor]) -> None:
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    # as bytes: `save_file` makes a file that nobody else may read; transformers asks for the format
    file.write_bytes(save(tensors, metadata={"format": "pt"}))


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
