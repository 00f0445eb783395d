"""Folders of the `transformers` library: CLIPModel and SiglipModel, as open_clip builds them.

`transformers` itself is not needed: `config.json` becomes open_clip's configuration here, and
`transformers_weights` gives the weights open_clip's names. `describe_clip` goes the other way.
"""

import re
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import timm
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from timm.models import register_model
from torch import nn

from qa_core.errors import UserError
from qa_core.system.files import json_of

CONFIG_FILE = "config.json"

_CLIP = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_SIGLIP = {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}
_IMAGE = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
_IMAGE |= {"num_hidden_layers": 12, "image_size": 224}
_TEXT = {"num_hidden_layers": 12}
_DEFAULTS: dict[tuple[str, str], dict[str, Any]] = {
    ("clip", "vision"): _CLIP | _IMAGE | {"patch_size": 32},
    ("clip", "text"): _CLIP
    | _TEXT
    | {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}
    | {"vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": 49407},
    ("siglip", "vision"): _SIGLIP | _IMAGE | {"patch_size": 16, "vision_use_head": True},
    ("siglip", "text"): _SIGLIP
    | _TEXT
    | {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    | {"vocab_size": 32000, "max_position_embeddings": 64},
}
"""Defaults of the library's classes, for settings that a `config.json` leaves out."""
_ACTIVATIONS = {
    "quick_gelu": None,
    "gelu": {},
    "gelu_pytorch_tanh": {"approximate": "tanh"},
    "gelu_new": {"approximate": "tanh"},
}
_CLIP_PIXELS = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
}
_SIGLIP_PIXELS = {"mean": [0.5] * 3, "std": [0.5] * 3}


def is_transformers(folder: Path) -> bool:
    """Whether a folder is described as `transformers` does it."""
    return (folder / CONFIG_FILE).is_file()


def read_architecture(folder: Path) -> dict[str, Any]:
    """open_clip's configuration of the model in a folder.

    Raises:
        UserError: The model is of another kind, or its description cannot be used.
    """
    try:
        config = json_of(folder / CONFIG_FILE)
        kind = config.get("model_type")
        if kind not in ("clip", "siglip"):
            raise UserError(
                f"--backbone {folder} is a folder of transformers with a model of the type"
                f" {kind!r}; those that can be opened are clip and siglip."
            )
        image, text = (
            _DEFAULTS[kind, tower] | config.get(f"{tower}_config", {})
            for tower in ("vision", "text")
        )
        build = _clip if kind == "clip" else _siglip
        return build(folder, config, image, text)
    except (OSError, ArithmeticError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"--backbone {folder}: its {CONFIG_FILE} does not describe a model"
            f" ({type(error).__name__}: {error})."
        ) from error


def read_pixels(folder: Path) -> dict[str, list[float]]:
    """Mean and deviation of pixels by which a folder's model normalises."""
    kind = json_of(folder / CONFIG_FILE)["model_type"]
    usual = _CLIP_PIXELS if kind == "clip" else _SIGLIP_PIXELS
    file = folder / "preprocessor_config.json"
    told = json_of(file) if file.is_file() else {}
    told = told.get("image_processor", told)
    return {name: told.get(f"image_{name}", value) for name, value in usual.items()}


def _clip(folder: Path, config: Any, image: Any, text: Any) -> dict[str, Any]:
    acts = {image["hidden_act"], text["hidden_act"]}
    if "quick_gelu" in acts and len(acts) > 1:
        raise UserError(f"--backbone {folder}: its towers have other activations, {sorted(acts)}.")
    vision = _shared(image) | {
        "head_width": image["hidden_size"] // image["num_attention_heads"],
        "image_size": image["image_size"],
        "patch_size": image["patch_size"],
    }
    ends_highest = text["eos_token_id"] in (2, text["vocab_size"] - 1)  # 2: an old mistake there
    pool = {} if ends_highest else {"pool_type": "eos", "eos_id": text["eos_token_id"]}
    return {
        "embed_dim": config.get("projection_dim", 512),
        "quick_gelu": acts == {"quick_gelu"},
        "vision_cfg": vision,
        "text_cfg": _text(folder, text) | pool,
    }


def _siglip(folder: Path, config: Any, image: Any, text: Any) -> dict[str, Any]:
    if not image["vision_use_head"]:
        raise UserError(f"--backbone {folder}: its image tower has no head that gives embeddings.")
    size = image["image_size"]
    shape = [image["hidden_size"], image["num_hidden_layers"], image["num_attention_heads"]]
    shape += [image["intermediate_size"], image["patch_size"], size]
    eps, act = round(image["layer_norm_eps"] * 1e9), image["hidden_act"]
    vision = {
        "image_size": size,
        "timm_model_name": "_".join(map(str, ["siglip", *shape, eps, act])),
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    }
    return {
        "embed_dim": image["hidden_size"],
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": vision,
        "text_cfg": _text(folder, text)
        | {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    }


def _shared(tower: dict[str, Any]) -> dict[str, Any]:
    """What open_clip's two towers are told alike."""
    found: dict[str, Any] = {
        "width": tower["hidden_size"],
        "layers": tower["num_hidden_layers"],
        "mlp_ratio": (tower["intermediate_size"] + 0.5) / tower["hidden_size"],  # floored there
        "norm_kwargs": {"eps": tower["layer_norm_eps"]},
    }
    options = _ACTIVATIONS[tower["hidden_act"]]
    return found | ({"act_kwargs": options} if options else {})


def _text(folder: Path, text: dict[str, Any]) -> dict[str, Any]:
    found = _shared(text) | {
        "heads": text["num_attention_heads"],
        "context_length": text["max_position_embeddings"],
        "vocab_size": text["vocab_size"],
    }
    if not _has_tokenizer(folder) and text["vocab_size"] == 49408:
        return found  # OpenAI's byte pairs, which open_clip has
    settings = folder / "tokenizer_config.json"
    told = json_of(settings) if settings.is_file() else {}
    cleans = told.get("tokenizer_class") == "SiglipTokenizer"  # others leave texts as they are
    clean = {"clean": "canonicalize" if cleans else "none"}
    return found | {"hf_tokenizer_name": "transformers", "tokenizer_kwargs": clean}


_SAID = {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"}
_SAID_OF_BOTH = {"layers", "width", "mlp_ratio", "norm_kwargs", "act_kwargs"}
_SAID_OF_IMAGE = _SAID_OF_BOTH | {"head_width", "patch_size", "image_size", "patch_dropout"}
_SAID_OF_TEXT = _SAID_OF_BOTH | {"heads", "context_length", "vocab_size", "pool_type", "eos_id"}
_SAID_OF_TEXT |= {"hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs"}


def describe_clip(architecture: dict[str, Any], end_id: int) -> dict[str, Any]:
    """The `config.json` of a `CLIPModel`, of which `read_architecture` makes the same model again.

    Args:
        architecture: open_clip's configuration.
        end_id: The token at which a text's embedding is read.

    Raises:
        UserError: A CLIPModel cannot be this model; it names what is different.
    """
    image = CLIPVisionCfg(**architecture["vision_cfg"])
    text = CLIPTextCfg(**architecture["text_cfg"])
    others = sorted(architecture.keys() - _SAID)
    others += _beyond(image, _SAID_OF_IMAGE) + _beyond(text, _SAID_OF_TEXT)
    others += [] if text.pool_type in ("argmax", "eos") else ["pool_type"]
    others += [] if isinstance(image.layers, int) else ["ResNet"]  # of four numbers
    if others:
        raise UserError(f"transformers' CLIPModel has no {', '.join(others)}, as this model has.")
    quick = architecture.get("quick_gelu", False)
    vision_config = _told(image, quick, image.width // image.head_width)
    vision_config |= {"image_size": image.image_size, "patch_size": image.patch_size}
    text_config = _told(text, quick, text.heads) | {"eos_token_id": end_id}
    text_config |= {
        "max_position_embeddings": text.context_length,
        "vocab_size": text.vocab_size,
    }
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": architecture["embed_dim"],
        "vision_config": vision_config,
        "text_config": text_config,
    }


def _beyond(tower: CLIPVisionCfg | CLIPTextCfg, said: set[str]) -> list[str]:
    """Settings of a tower that are neither among those said nor as they are by default."""
    named = [(field.name, field.default) for field in fields(tower) if field.name not in said]
    return [name for name, default in named if getattr(tower, name) != default]


def _told(tower: CLIPVisionCfg | CLIPTextCfg, quick: bool, heads: int) -> dict[str, Any]:
    """What both towers of a `CLIPModel` are told alike: `_shared` turned round."""
    options = tower.act_kwargs or {}
    act = "quick_gelu" if quick else next(n for n, own in _ACTIVATIONS.items() if own == options)
    return {
        "hidden_size": tower.width,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": heads,
        "intermediate_size": int(tower.width * tower.mlp_ratio),
        "hidden_act": act,
        "layer_norm_eps": (tower.norm_kwargs or {}).get("eps", 1e-5),
    }


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "merges.txt"))


# --- the image tower of SigLIP, of any shape -----------------------------------------------------

_SIGLIP_NAME = re.compile(r"siglip_(\d+)_(\d{1,3})_(\d+)_(\d+)_(\d+)_(\d+)_(\d+)_(gelu\w*)")


def is_ours(architecture: dict[str, Any]) -> bool:
    """Whether an image tower is one that only `register_image_tower` knows."""
    name = architecture.get("vision_cfg", {}).get("timm_model_name") or ""
    return _SIGLIP_NAME.fullmatch(name) is not None


def register_image_tower(architecture: dict[str, Any]) -> None:
    """Register the image tower of an architecture with timm; twice does no harm."""
    name = architecture.get("vision_cfg", {}).get("timm_model_name") or ""
    match = _SIGLIP_NAME.fullmatch(name)
    if match is None:
        return
    width, depth, heads, mlp, patch, size, eps = map(int, match.groups()[:7])
    options = _ACTIVATIONS[match.group(8)] or {}

    def make(pretrained: bool = False, **given: Any) -> nn.Module:
        shape: dict[str, Any] = {
            "embed_dim": width,
            "depth": depth,
            "num_heads": heads,
            "patch_size": patch,
        }
        shape |= {"img_size": size, "mlp_ratio": (mlp + 0.5) / width, "class_token": False}
        shape |= {"norm_layer": partial(nn.LayerNorm, eps=eps / 1e9)}
        shape |= {"act_layer": partial(nn.GELU, **options)}
        return timm.create_model("vit_base_patch16_siglip_224", **shape | given)

    make.__name__, make.__module__ = name, __name__
    if name not in timm.list_models(name):
        register_model(make)
