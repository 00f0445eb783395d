"""Self-describing checkpoints: plain tensors and plain values, read with `weights_only=True`."""

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from qa_core.backbone import load_backbone
from qa_core.config import run_config_from_flat
from qa_core.errors import UserError
from qa_core.model import QualityModel

FORMAT = 2


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    try:
        with open(scratch, "wb") as file:  # a file, so that a full disk raises OSError
            torch.save({"format": FORMAT} | content, file)
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        UserError: The file is absent, damaged, or not one of ours.
    """
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as a checkpoint: it is damaged, or holds more than tensors and"
            " plain values and is refused."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this project (format {FORMAT}).")
    return content


def write_whole(path: Path, target: Path) -> None:
    """Write a checkpoint again so that it holds the whole model and needs no other file."""
    model, content = load_model(path)
    save_checkpoint(target, content | {"whole": True, "state": dict(model.state_dict())})


def load_model(path: Path, device: str = "cpu") -> tuple[QualityModel, dict[str, Any]]:
    """The trained model of a checkpoint, in eval mode, and the checkpoint's other content.

    A checkpoint that holds the whole backbone needs no other file; one that holds only what
    training changed is laid over the same pretrained weights.

    Raises:
        UserError: The checkpoint cannot be read, or was trained on other pretrained weights.
    """
    content = read_checkpoint(path)
    if "config" not in content:
        raise UserError(f"{path} is for going on with its training; give the best checkpoint.")
    config = run_config_from_flat(content["config"])
    clip = dataclasses.replace(config.clip, pretrained="none") if content["whole"] else config.clip
    backbone = load_backbone(clip)
    if not content["whole"] and backbone.sha256 != content["backbone_sha256"]:
        raise UserError(
            f"{path} was trained from other weights of {config.clip.backbone} than"
            f" --pretrained {config.clip.pretrained} gives here."
        )
    for name in ("pixel_mean", "pixel_std"):  # open_clip takes them from the pretrained tag
        getattr(backbone, name).copy_(torch.tensor(content[name]).view(1, 3, 1, 1))
    model = QualityModel(backbone, config)
    missing, unexpected = model.load_state_dict(content["state"], strict=False)
    if unexpected or (content["whole"] and missing):
        raise UserError(f"{path} does not fit the backbone {config.clip.backbone}.")
    return model.to(device).eval(), content
