"""A backbone's architecture and tokenizer without its weights, and where the weights come from."""

import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import open_clip
import torch
from torch import nn

from qa_core.backbones import quick_gelu
from qa_core.backbones.registry import TINY_NAME, TINY_WEIGHTS, register_tiny
from qa_core.backbones.tokenizers import TokenizerFiles, find_tokenizer
from qa_core.backbones.transformers_folder import (
    is_transformers,
    read_architecture,
    read_pixels,
    register_image_tower,
)
from qa_core.backbones.weights import find_weights, load_whole
from qa_core.errors import UserError, in_words
from qa_core.settings.model import BackboneConfig
from qa_core.system.files import json_of

CONFIG_FILE = "open_clip_config.json"
_MOST_BLOCKS = 999
"""Of a tower; published ones have up to 64. Each is built in Python, so that 10^9 take for ever."""


@dataclass(frozen=True)
class Blueprint:
    """A backbone without its weights, as a checkpoint keeps it.

    Attributes:
        name: Its model name or folder.
        architecture: open_clip's configuration of the model, its activation as the weights have it.
        tokenizer: The files of a tokenizer; None for open_clip's own byte pairs.
    """

    name: str
    architecture: dict[str, Any]
    tokenizer: TokenizerFiles | None

    @property
    def is_tiny(self) -> bool:
        """Whether this is the embedded backbone."""
        return self.name == TINY_NAME

    @property
    def is_named(self) -> bool:
        """Whether open_clip has this very architecture under the name."""
        return self.architecture == open_clip.get_model_config(self.name)

    def plain(self) -> dict[str, Any]:
        """The blueprint as plain values, which `restore` turns back into one."""
        tokenizer = None if self.tokenizer is None else vars(self.tokenizer)
        return {"name": self.name, "architecture": self.architecture, "tokenizer": tokenizer}

    @classmethod
    def restore(cls, values: dict[str, Any]) -> "Blueprint":
        """The blueprint of plain values.

        Raises:
            UserError: It names parts that would be downloaded, or an absurd number of blocks.
        """
        require_plain(values["name"], values["architecture"])
        files = values["tokenizer"]
        tokenizer = None if files is None else TokenizerFiles(**files)
        return cls(values["name"], values["architecture"], tokenizer)


def find_blueprint(config: BackboneConfig) -> Blueprint:
    """The blueprint that a configuration names.

    Raises:
        UserError: Model name, folder or tokenizer cannot be used.
    """
    folder = Path(config.backbone)
    if folder.is_dir():
        architecture = _folder_architecture(folder)
    else:
        architecture = _named_architecture(config.backbone, config.pretrained)
    require_plain(config.backbone, architecture)
    tokenizer = find_tokenizer(config, architecture["text_cfg"])
    return Blueprint(config.backbone, architecture, tokenizer)


def require_plain(name: str, architecture: dict[str, Any]) -> None:
    """Refuse an architecture that would fetch parts of itself, or take for ever to build.

    Raises:
        UserError: It is one, or has no two towers.
    """
    towers: list[Any] = [architecture.get(f"{tower}_cfg") for tower in ("text", "vision")]
    width = architecture.get("embed_dim")
    if not all(isinstance(one, dict) for one in towers) or not isinstance(width, int) or width < 1:
        raise UserError(f"--backbone {name}: its description has no two towers and embed_dim.")
    text, image = towers
    if text.get("hf_model_name") or ":" in str(image.get("timm_model_name", "")):
        raise unsupported(name)
    if max(map(_most_blocks, towers)) > _MOST_BLOCKS:
        raise UserError(f"--backbone {name} is described as of more than {_MOST_BLOCKS} blocks.")


def _most_blocks(tower: dict[str, Any]) -> float:
    told = tower | (tower.get("timm_model_kwargs") or {})
    numbers = [told.get(key) or 0 for key in ("layers", "depth", "depths")]
    each = [one for number in numbers for one in (number if isinstance(number, list) else [number])]
    return max((one for one in each if isinstance(one, int | float)), default=0)


def unsupported(name: str) -> UserError:
    """The error for a model whose towers cannot be opened; it names models that can be used."""
    return UserError(
        f"--backbone {name} is not supported. Image towers that are: open_clip's ViT (ViT-*, CLIPA,"
        " CoCa), timm's ViT and EVA (SigLIP, SigLIP2, EVA01, EVA02, PE-Core, ViTamin,"
        " MobileCLIP-B), and by their stages ResNet (RN50), ConvNeXt, Swin, FastViT (MobileCLIP-S)."
        " Text towers: open_clip's own transformer, not Hugging Face's (roberta, mt5, nllb)."
    )


def _named_architecture(name: str, weights: str) -> dict[str, Any]:
    register_tiny()
    base = quick_gelu.base_name(name)
    architecture = open_clip.get_model_config(base) if base in open_clip.list_models() else None
    if architecture is None:
        near = [m for m in open_clip.list_models() if m.lower().startswith(name.lower()[:5])]
        hint = f" Near it: {', '.join(near[:6])}." if near else ""
        raise UserError(
            f"--backbone {name} is neither a model that open_clip knows nor a folder.{hint}"
        )
    is_quick = architecture.get("quick_gelu", False)
    tags = open_clip.list_pretrained_tags_by_model(name)
    if Path(weights).is_file():
        quick = quick_gelu.of_file(name, Path(weights)) if quick_gelu.has_both(name) else is_quick
    elif tags and (weights == "default" or weights in tags):
        quick = quick_gelu.of_tag(name, _published_tag(name, weights))
    else:
        quick = is_quick
    return architecture if quick == is_quick else architecture | {"quick_gelu": quick}


def _folder_architecture(folder: Path) -> dict[str, Any]:
    if is_transformers(folder) and not (folder / CONFIG_FILE).is_file():
        return read_architecture(folder)
    return _described(folder)["model_cfg"]


def _folder_pixels(folder: Path) -> dict[str, Any]:
    """Mean and deviation of pixels as a folder describes them.

    Raises:
        UserError: They are not three numbers each.
    """
    try:
        if is_transformers(folder) and not (folder / CONFIG_FILE).is_file():
            pixels = read_pixels(folder)
        else:
            pixels = _described(folder).get("preprocess_cfg", {})
        for name in pixels.keys() & {"mean", "std"}:
            if not torch.tensor(pixels[name]).view(3).isfinite().all():
                raise ValueError(name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"--backbone {folder}: its mean and deviation of pixels are not three numbers each."
        ) from error
    return pixels


def _described(folder: Path) -> dict[str, Any]:
    try:
        content = json_of(folder / CONFIG_FILE)
        if isinstance(content["model_cfg"], dict):
            return content
        raise TypeError("model_cfg")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--backbone {folder} is a folder without a usable {CONFIG_FILE}: it needs that file"
            " and the weights, as open_clip's models on the Hugging Face hub have them, or"
            " config.json and the weights, as transformers saves CLIPModel and SiglipModel."
        ) from error


def build_model(blueprint: Blueprint, pixels: dict[str, Any] | None = None) -> nn.Module:
    """The model of a blueprint with random weights, the same in every process.

    Raises:
        UserError: Its description makes no model.
        MemoryError: It makes one that is too large for this machine.
    """
    try:
        register_image_tower(blueprint.architecture)
        with tempfile.TemporaryDirectory() as folder:
            content = {"model_cfg": blueprint.architecture, "preprocess_cfg": pixels or {}}
            (Path(folder) / CONFIG_FILE).write_text(json.dumps(content), encoding="utf-8")
            return _create(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    except Exception as error:  # open_clip and timm check little of what they are told
        if in_words(error) is not None:  # memory or disk
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        raise UserError(
            f"--backbone {blueprint.name}: its description makes no model ({reason})."
        ) from error


def load_model(config: BackboneConfig, blueprint: Blueprint) -> nn.Module:
    """The model that a configuration names, with its weights.

    Raises:
        UserError: The weights cannot be obtained or are incomplete; the message says what to do.
    """
    name, weights = config.backbone, config.pretrained
    folder = Path(name) if Path(name).is_dir() else None
    if weights == "none":
        return build_model(blueprint, _folder_pixels(folder) if folder else None)
    if folder is not None and weights == "default":
        return _loaded(name, "the weights", lambda: _from_files(blueprint, find_weights(folder)))
    if folder is not None or Path(weights).is_file():
        what = f"--pretrained {weights}"
        return _loaded(name, what, lambda: _from_files(blueprint, [_file(weights)]))
    if name == TINY_NAME and weights == "default":
        return _loaded(name, "its weights", lambda: _from_files(blueprint, [TINY_WEIGHTS]))
    tag = _published_tag(name, weights)
    quick = blueprint.architecture.get("quick_gelu", False)
    return _loaded(
        *(name, f"the weights {tag!r}"),
        lambda: _create(name, pretrained=tag, force_quick_gelu=quick),
        _how_to_fetch(name, tag),
    )


def _loaded(name: str, what: str, create: Any, advice: str = "") -> nn.Module:
    try:
        return create()
    except UserError:
        raise
    except UnpicklingError as error:
        raise UserError(
            f"--backbone {name}: {what} cannot be loaded: the file is damaged, or holds more than"
            " tensors and is refused."
        ) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        raise UserError(
            f"--backbone {name}: {what} cannot be loaded ({reason}).{advice}"
        ) from error


def _create(spec: str, **options: Any) -> nn.Module:
    with _quiet_open_clip(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # every worker must start from the same random weights
        return open_clip.create_model(spec, **options)


def _file(weights: str) -> Path:
    if not Path(weights).is_file():
        raise UserError(f"There is no file of weights {weights}.")
    return Path(weights)


def _from_files(blueprint: Blueprint, files: list[Path]) -> nn.Module:
    """A model with weights read from files; nothing in the files is executed."""
    folder = Path(blueprint.name)
    pixels = _folder_pixels(folder) if folder.is_dir() else _published_pixels(blueprint.name)
    model = build_model(blueprint, pixels)
    with _quiet_open_clip():
        load_whole(model, files, f"--backbone {blueprint.name}: {', '.join(map(str, files[:2]))}")
    return model


def _published_pixels(name: str) -> dict[str, Any]:
    """Pixel mean and standard deviation that all published weights of a model share, or nothing."""
    name = quick_gelu.base_name(name)
    tags = open_clip.list_pretrained_tags_by_model(name)
    configs = [open_clip.get_pretrained_cfg(name, tag) for tag in tags]
    pixels = {(tuple(c.get("mean") or ()), tuple(c.get("std") or ())) for c in configs}
    mean, std = pixels.pop() if len(pixels) == 1 else ((), ())
    return {"mean": mean, "std": std} if mean and std else {}


def _published_tag(name: str, weights: str) -> str:
    tags = open_clip.list_pretrained_tags_by_model(name)
    if weights in tags:
        return weights
    if not tags:
        raise UserError(
            f"--backbone {name} has no published weights in open_clip: give a weights"
            " file as --pretrained FILE, or --pretrained none for random ones."
        )
    if weights != "default":
        raise UserError(
            f"--pretrained {weights} is neither a file nor published weights of {name}, which are:"
            f" {', '.join(tags)}."
        )
    return "openai" if "openai" in tags else tags[0]


def _how_to_fetch(name: str, tag: str) -> str:
    """What to do where there is no network."""
    source = open_clip.get_pretrained_cfg(name, tag)
    if source.get("hf_hub"):
        repository = "/".join(source["hf_hub"].split("/")[:2])
        return (
            f" Without network: where there is one, `hf download {repository} --local-dir FOLDER`;"
            " bring the folder here and give it as --backbone FOLDER, which holds weights and"
            " tokenizer, or its weights file as --pretrained FILE."
        )
    return (
        f" Without network: fetch {source.get('url', 'the file')} where there is one, and give the"
        " file as --pretrained FILE."
    )


@contextlib.contextmanager
def _quiet_open_clip() -> Iterator[None]:
    """Silence open_clip's warning about random weights: this project prints one of its own."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
