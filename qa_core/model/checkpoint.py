"""Self-describing checkpoints: plain tensors and plain values, read with `weights_only=True`."""

import errno
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from qa_core.backbones.backbone import Backbone, load_backbone, rebuild_backbone
from qa_core.backbones.blueprint import Blueprint
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.errors import UserError
from qa_core.model.quality_model import QualityModel
from qa_core.system.files import written_whole

FORMAT = 3

_KINDS: dict[str, type | tuple[type, ...]] = {
    "config": dict,
    "whole": bool,
    "blueprint": (dict, type(None)),
    "backbone_sha256": str,
    "pixel_mean": list,
    "pixel_std": list,
    "range_quality": (tuple, list, type(None)),
    "range_consistency": (tuple, list, type(None)),
    "state": dict,
}
"""What loading reads of a best checkpoint, and of what types."""

_MOST_VALUES, _DEEPEST = 10_000, 20
"""Plain values of a checkpoint, and how deep they may lie in each other: ours has hundreds, four
deep. A list that holds another twice, and so on, would be walked for ever."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        try:
            with partial.open("wb") as file:  # a file, so that a full disk raises OSError
                torch.save({"format": FORMAT} | content, file)
        except RuntimeError as error:  # what torch's writer makes of a write that failed
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Its checksums are verified first, which torch itself does not do: it would load flipped bits
    as other weights.

    Raises:
        UserError: The file is absent, damaged, or not one of ours.
    """
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}.")
    try:
        _verify_checksums(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as a checkpoint: it is damaged, or holds more than tensors and"
            " plain values and is refused."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this project (format {FORMAT}).")
    return content


def _verify_checksums(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise ValueError("compressed, as no checkpoint of ours is")
        # of a part that is marked as a folder torch reads nothing, and leaves what was in memory
        if any(part.external_attr for part in parts):
            raise ValueError("marked as folders or otherwise, as no checkpoint of ours is")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"{damaged} does not match its checksum")


def write_whole(path: Path, target: Path) -> None:
    """Write a checkpoint again so that it holds the whole model and needs no other file."""
    model, content = load_model(path)
    whole = {"whole": True, "blueprint": model.backbone.blueprint.plain()}
    save_checkpoint(target, content | whole | {"state": dict(model.state_dict())})


def load_model(path: Path, device: str = "cpu") -> tuple[QualityModel, dict[str, Any]]:
    """The trained model of a checkpoint, in eval mode, and the checkpoint's other content.

    A checkpoint that holds the whole backbone needs no other file, not even its tokenizer's; one
    that holds only what training changed needs the same pretrained weights.

    Raises:
        UserError: The checkpoint cannot be read, or was trained on other pretrained weights.
    """
    content = read_checkpoint(path)
    if "config" not in content and "optimizer" in content:
        raise UserError(f"{path} is for going on with its training; give the best checkpoint.")
    for name, kind in _KINDS.items():
        value = content.get(name, ...)
        if not isinstance(value, kind) or (name != "state" and not _is_plain(value)):
            raise UserError(f"{path} is not a whole checkpoint: {name} is missing or wrong.")
    config = _config_of(path, content["config"])
    if content["whole"]:
        backbone = _rebuilt(path, content["blueprint"])
        name = backbone.blueprint.name
        if name != config.clip.backbone:
            raise UserError(f"{path} holds a {name}, but its settings say {config.clip.backbone}.")
    else:
        backbone = load_backbone(config.clip)
    if not content["whole"] and backbone.sha256 != content["backbone_sha256"]:
        raise UserError(
            f"{path} was trained from other weights of {config.clip.backbone} than"
            f" --pretrained {config.clip.pretrained} gives here."
        )
    model = QualityModel(backbone, config)
    try:
        for name in ("pixel_mean", "pixel_std"):  # open_clip takes them from the pretrained tag
            getattr(backbone, name).copy_(torch.tensor(content[name]).view(1, 3, 1, 1))
        for name in ("range_quality", "range_consistency"):
            _require_range(name, content[name])
        _load_state(model, content["state"], content["whole"])
    except (ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} does not fit the backbone {config.clip.backbone}, or is damaged."
        ) from error
    return model.to(device).eval(), content


def _rebuilt(path: Path, blueprint: dict[str, Any] | None) -> Backbone:
    try:
        return rebuild_backbone(Blueprint.restore(blueprint or {}))
    except UserError:
        raise
    except Exception as error:  # whatever a model is asked to be by a damaged description
        raise UserError(f"{path} does not say how its backbone is built, or is damaged.") from error


def _config_of(path: Path, flat: dict[str, Any]) -> RunConfig:
    try:
        return run_config_from_flat(flat)
    except (TypeError, ValueError, UserError) as error:
        raise UserError(f"{path} has settings that are unknown here: {error}") from error


def _is_plain(value: Any) -> bool:
    """Whether it is a value, or lists and dictionaries of them that can be walked."""
    waiting, walked = [(value, 0)], 0
    while waiting:
        one, depth = waiting.pop()
        walked += 1
        if walked > _MOST_VALUES or depth > _DEEPEST:
            return False
        if isinstance(one, dict):
            waiting += [(inner, depth + 1) for pair in one.items() for inner in pair]
        elif isinstance(one, list | tuple):
            waiting += [(inner, depth + 1) for inner in one]
    return True


def _require_range(name: str, bounds: Any) -> None:
    """Raise ValueError or TypeError unless it is None or two finite numbers, the lower first."""
    low, high = (0.0, 1.0) if bounds is None else bounds
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{name} is {bounds}")


def _load_state(model: QualityModel, state: Mapping[str, Any], whole: bool) -> None:
    """Load what training changed, or the whole model.

    Raises:
        ValueError: Weights are missing, unknown, not finite, or of another kind of number.
        RuntimeError: Weights have other shapes.
    """
    for name, own in model.state_dict().items():
        # torch would drop an imaginary part, or round, without a word
        given = state.get(name, own)
        if not isinstance(given, torch.Tensor) or given.is_floating_point() != (
            own.is_floating_point()
        ):
            raise ValueError(f"{name} is of another kind")
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or (whole and missing):
        raise ValueError(f"unknown {unexpected[:3]}, missing {missing[:3]}")
    if not all(bool(torch.isfinite(weights).all()) for weights in model.parameters()):
        raise ValueError("weights that are not finite")
