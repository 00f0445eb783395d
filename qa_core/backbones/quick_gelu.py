"""The activation that weights were trained with: GELU, or OpenAI's x · sigmoid(1.702 x).

With the wrong one the same weights compute other embeddings, and a state dict does not say which is
right.
"""

import zipfile
from pathlib import Path
from typing import Any

import open_clip
import torch

from qa_core.backbones.weights import OPENAI_EXTRAS
from qa_core.errors import UserError
from qa_core.system.files import file_sha256, json_of

QUICK, PLAIN = "-quickgelu", "-gelu"
"""Ends of model names: open_clip's own, and ours for weights that are known to be the other kind.
"""


def base_name(name: str) -> str:
    """open_clip's name of a model, without our own ending."""
    base = name.removesuffix(PLAIN)
    return base if base != name and has_both(base) else name


def has_both(name: str) -> bool:
    """Whether open_clip knows this model with either activation."""
    return f"{name}{QUICK}" in open_clip.list_models()


def of_tag(name: str, tag: str) -> bool:
    """Whether published weights were trained with QuickGELU, by open_clip's record of them."""
    return bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu"))


def of_file(name: str, file: Path) -> bool:
    """Whether a file's weights were trained with QuickGELU, by its hash, content or neighbours.

    Args:
        name: A model that open_clip knows with either activation.
        file: The weights.

    Raises:
        UserError: It cannot be known; the message says how to name either one.
    """
    for known in (_published(name, file), _described(file.parent), _openais(file)):
        if known is not None:
            return known
    tags = open_clip.list_pretrained_tags_by_model(name)
    quick = [tag for tag in tags if of_tag(name, tag)]
    plain = [tag for tag in tags if tag not in quick]
    raise UserError(
        f"--pretrained {file} does not say which activation its weights were trained with, and"
        f" {name} has been trained with either. --backbone {name}{QUICK} takes OpenAI's QuickGELU"
        f" ({', '.join(quick)}); --backbone {name}{PLAIN} takes GELU"
        f" ({', '.join([*plain[:4], 'what open_clip trains as ' + name])})."
    )


def _published(name: str, file: Path) -> bool | None:
    """From the hash, whole or its beginning, that download addresses of published files contain."""
    hashes: dict[str, bool] = {}
    for tag in open_clip.list_pretrained_tags_by_model(name):
        url = open_clip.get_pretrained_cfg(name, tag).get("url") or ""
        if "openaipublic" in url:
            hashes[url.split("/")[-2]] = of_tag(name, tag)
        elif "mlfoundations" in url:
            hashes[Path(url).stem.split("-")[-1]] = of_tag(name, tag)
    found = file_sha256(file) if hashes else ""
    return next((quick for start, quick in hashes.items() if found.startswith(start)), None)


def _described(folder: Path) -> bool | None:
    """From the description that published folders have beside the weights."""
    described = _json(folder / "open_clip_config.json").get("model_cfg")
    if isinstance(described, dict):
        return bool(described.get("quick_gelu"))
    towers = [_json(folder / "config.json").get(f"{tower}_config") for tower in ("text", "vision")]
    acts = {tower.get("hidden_act") for tower in towers if isinstance(tower, dict)} - {None}
    return acts == {"quick_gelu"} if acts else None


def _openais(file: Path) -> bool | None:
    """From entries that only OpenAI's archives have beside the weights."""
    if not zipfile.is_zipfile(file):
        return None
    content = torch.load(file, map_location="meta", weights_only=True)
    return True if isinstance(content, dict) and content.keys() >= set(OPENAI_EXTRAS) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json_of(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
