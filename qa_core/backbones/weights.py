"""Weights from files: found, read without executing anything, and loaded whole or refused."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from torch import Tensor, nn

from qa_core.backbones.transformers_weights import from_transformers
from qa_core.errors import UserError
from qa_core.system.files import file_sha256, json_of

StateDict = dict[str, Tensor]

SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
_STEMS = ("open_clip_model", "open_clip_pytorch_model", "model", "pytorch_model")
_NAMES = [f"{stem}{suffix}" for suffix in SUFFIXES for stem in _STEMS]
_NESTED = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")
OPENAI_EXTRAS = ("input_resolution", "context_length", "vocab_size")
"""Entries that OpenAI's archives, and no others, have beside the weights."""
_SHOWN = 4


def find_weights(folder: Path) -> list[Path]:
    """The file of weights of a folder, or all of a set that an index lists.

    Raises:
        UserError: There is none, or it is not clear which of several.
    """
    found = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    by_name = {file.name: file for file in found}
    for name in _NAMES:
        if name in by_name:
            return [by_name[name]]
        if (folder / f"{name}.index.json").is_file():
            return _listed(folder / f"{name}.index.json")
    if len(found) == 1:
        return found
    if not found:
        raise UserError(
            f"--backbone {folder} holds no weights ({', '.join(f'*{s}' for s in SUFFIXES)}): put"
            " them there, give them as --pretrained FILE, or take random ones by --pretrained none."
        )
    raise UserError(
        f"--backbone {folder} holds several files of weights ({_some(list(by_name))}): say which by"
        " --pretrained FILE."
    )


def _listed(index: Path) -> list[Path]:
    try:
        names = sorted(set(json_of(index)["weight_map"].values()))
        files = [index.parent / Path(name).name for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index} does not list files of weights.") from error
    lacking = [file.name for file in files if not file.is_file()]
    if lacking or not files:
        raise UserError(f"{index} lists files of weights that are not there: {_some(lacking)}.")
    return files


def read_state(files: Sequence[Path]) -> StateDict:
    """The state dict that files hold, by open_clip's names and without wrappers around it.

    Raises:
        UserError: A file holds something else than weights.
    """
    state: StateDict = {}
    for file in files:
        state |= _read_file(file)
    for extra in OPENAI_EXTRAS:
        state.pop(extra, None)
    return from_transformers(state)


def _read_file(file: Path) -> StateDict:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        content: Any = load_file(file)
    elif is_openai_archive(file):
        content = torch.jit.load(file, map_location="cpu").state_dict()
    else:
        content = torch.load(file, map_location="cpu", weights_only=True)
    for name in _NESTED:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    is_state = isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )
    if not is_state or not content:
        raise UserError(f"{file} holds no weights: a state dict was expected, names and tensors.")
    return _without_prefixes(content)


def _without_prefixes(state: StateDict) -> StateDict:
    """Names without what wrappers put before all of them (DataParallel, torch.compile)."""
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            return _without_prefixes({n.removeprefix(prefix): v for n, v in state.items()})
    return state


def load_whole(model: nn.Module, files: Sequence[Path], what: str) -> None:
    """Load the weights of files into a model of open_clip: every one, or none.

    Args:
        model: As open_clip builds it.
        files: One, or all of a set.
        what: How the user named them, for the sentence that refuses.

    Raises:
        UserError: Weights are missing, unexpected, or of other shapes or types; it names them.
    """
    if files[0].suffix == ".npz":  # big_vision's own; a missing name is an error there
        open_clip.load_checkpoint(model, str(files[0]))  # pyright: ignore[reportArgumentType]
        return
    state = convert_state_dict(model, read_state(files))  # pyright: ignore[reportArgumentType]
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    own = model.state_dict()
    for name in ("logit_scale", "logit_bias"):  # (1,) or (), as they were saved
        if name in own and name in state and state[name].numel() == 1:
            state[name] = state[name].reshape(own[name].shape)
    found = {
        "missing": [n for n in own if n not in state and not n.endswith("num_batches_tracked")],
        "unexpected": [n for n in state if n not in own],
        "of another shape or type": [
            f"{name} {_kind(state[name])} for {_kind(value)}"
            for name, value in own.items()
            if name in state and not _fits(state[name], value)
        ],
    }
    if any(found.values()):
        said = "; ".join(f"{len(n)} {why}: {_some(n)}" for why, n in found.items() if n)
        raise UserError(f"{what} does not hold the weights of this model. {said}.")
    model.load_state_dict(state, strict=False)


def _fits(given: Tensor, own: Tensor) -> bool:
    return given.shape == own.shape and given.is_floating_point() == own.is_floating_point()


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def is_openai_archive(file: Path) -> bool:
    """Whether a file is one of OpenAI's TorchScript archives, known by its published hash.

    Any other archive is refused: loading one can run code of its own.
    """
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        if not any(name.endswith("/constants.pkl") for name in archive.namelist()):
            return False
    return any(sha256 == file_sha256(file) for sha256 in openai_hashes())


def openai_hashes() -> set[str]:
    """SHA-256 of the files that OpenAI published, which are in their addresses."""
    pairs = [open_clip.get_pretrained_cfg(*pair) for pair in open_clip.list_pretrained()]
    urls = [pair.get("url") or "" for pair in pairs]
    return {url.split("/")[-2] for url in urls if "openaipublic" in url}
