"""Tokenizers: open_clip's own byte pairs, or the files of a Hugging Face tokenizer."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, SimpleTokenizer, get_clean_fn
from torch import Tensor

from qa_core.backbones.registry import TINY_NAME, tiny_tokenizer
from qa_core.errors import UserError
from qa_core.settings.model import BackboneConfig
from qa_core.system.files import json_of

OPENAI_VOCABULARY = 49408
VOCABULARY_FILE = "tokenizer.json"
_SETTINGS_FILES = ("special_tokens_map.json", "tokenizer_config.json")
_START, _END = "<|startoftext|>", "<|endoftext|>"  # of CLIP's tokenizers of Hugging Face
_USUAL = {"pad_token": ("<pad>", "[PAD]", _END), "sep_token": ("</s>", "[SEP]")}


@dataclass(frozen=True)
class TokenizerFiles:
    """A Hugging Face tokenizer as its files have it.

    Attributes:
        vocabulary: Content of `tokenizer.json`.
        settings: Content of the settings beside it, as JSON.
    """

    vocabulary: str
    settings: str


def find_tokenizer(config: BackboneConfig, text: dict[str, Any]) -> TokenizerFiles | None:
    """The tokenizer's files that a configuration needs; None for open_clip's own byte pairs.

    Args:
        config: `tokenizer` names a folder, or the backbone's own is taken.
        text: The text part of open_clip's model configuration.

    Raises:
        UserError: The files are not there and cannot be fetched; it says how to get them.
    """
    if config.tokenizer is not None:
        return _read(Path(config.tokenizer), f"--tokenizer {config.tokenizer}")
    repository = text.get("hf_tokenizer_name")
    if not repository:
        return None
    folder = Path(config.backbone)
    if folder.is_dir():
        return _read(folder, f"--backbone {config.backbone}")
    return _read(_fetch(repository, config.backbone), f"the tokenizer {repository}")


def _fetch(repository: str, backbone: str) -> Path:
    """The folder of the hub's copy, fetched unless it was before."""
    from huggingface_hub import snapshot_download

    files = [VOCABULARY_FILE, *_SETTINGS_FILES]
    try:
        return Path(snapshot_download(repository, allow_patterns=files))
    except Exception as error:
        raise UserError(
            f"--backbone {backbone} reads prompts by the tokenizer {repository}, which cannot be"
            f" fetched ({type(error).__name__}). Where there is network, `hf download {repository}"
            f" {' '.join(files)} --local-dir FOLDER`; bring the folder here and give it as"
            " --tokenizer FOLDER."
        ) from error


def _read(folder: Path, what: str) -> TokenizerFiles:
    try:
        if not (folder / VOCABULARY_FILE).is_file() and (folder / "merges.txt").is_file():
            vocabulary = _byte_pairs(folder)
        else:
            vocabulary = (folder / VOCABULARY_FILE).read_text(encoding="utf-8")
        settings: dict[str, Any] = {}
        for name in _SETTINGS_FILES:
            if (folder / name).is_file():
                settings |= json_of(folder / name)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{what} holds no usable {VOCABULARY_FILE}: `save_pretrained` of a fast Hugging Face"
            " tokenizer writes it; where it lies elsewhere, give its folder as --tokenizer."
        ) from error
    return TokenizerFiles(vocabulary, json.dumps(settings))


def _byte_pairs(folder: Path) -> str:
    """CLIP's tokenizer of older folders, `vocab.json` and `merges.txt`, as `tokenizer.json`."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    start, end = _START, _END
    files = [str(folder / name) for name in ("vocab.json", "merges.txt")]
    try:
        pairs = models.BPE.from_file(*files, end_of_word_suffix="</w>", unk_token=end)
        tokenizer = Tokenizer(pairs)
        ids = json_of(folder / "vocab.json")
        tokenizer.post_processor = processors.RobertaProcessing(
            (end, ids[end]), (start, ids[start]), trim_offsets=False, add_prefix_space=False
        )
    except Exception as error:  # the library raises no narrower one
        raise ValueError(str(error)) from error
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return tokenizer.to_str()


def write_tokenizer(folder: Path, files: TokenizerFiles) -> None:
    """Write the files of a Hugging Face tokenizer as `find_tokenizer` reads them."""
    (folder / VOCABULARY_FILE).write_text(files.vocabulary, encoding="utf-8")
    (folder / _SETTINGS_FILES[-1]).write_text(files.settings, encoding="utf-8")


def write_byte_pairs(folder: Path, tokenizer: SimpleTokenizer) -> None:
    """Write open_clip's byte pairs as a `CLIPTokenizer` of Hugging Face, with the same ids."""
    names = {tokenizer.sot_token_id: _START, tokenizer.eot_token_id: _END}
    ids = {names.get(number, token): number for token, number in tokenizer.encoder.items()}
    merges = "".join(f"{' '.join(pair)}\n" for pair in tokenizer.bpe_ranks)
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": tokenizer.context_length}
    settings |= {"bos_token": _START} | dict.fromkeys(("eos_token", "pad_token", "unk_token"), _END)
    write_tokenizer(folder, TokenizerFiles(_byte_pairs(folder), json.dumps(settings)))


def make_tokenizer(name: str, text: dict[str, Any], files: TokenizerFiles | None) -> Any:
    """A tokenizer: a list of texts -> token ids (texts, context).

    Args:
        name: The backbone's name.
        text: The text part of open_clip's model configuration.
        files: A Hugging Face tokenizer's; None for open_clip's own byte pairs.
    """
    if files is None and name == TINY_NAME:
        return tiny_tokenizer()
    if files is None:
        context = text.get("context_length", DEFAULT_CONTEXT_LENGTH)
        return SimpleTokenizer(context_length=context, **text.get("tokenizer_kwargs", {}))
    return HubTokenizer(files, text)


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    """Turn whatever the `tokenizers` library does with damaged files into a UserError."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of its Rust code is no Exception
        raise UserError(f"{VOCABULARY_FILE} cannot {what}: {error}") from error


class HubTokenizer:
    """A Hugging Face tokenizer as open_clip uses it, by the `tokenizers` library alone.

    Args:
        files: Its files.
        text: The text part of open_clip's model configuration.

    Raises:
        UserError: The files cannot be read, or the model asks for what is not supported.
    """

    def __init__(self, files: TokenizerFiles, text: dict[str, Any]):
        from tokenizers import Tokenizer

        self.context_length: int = text.get("context_length", DEFAULT_CONTEXT_LENGTH)
        self._vocabulary: int = text.get("vocab_size", OPENAI_VOCABULARY)
        options = text.get("tokenizer_kwargs") or {}
        if text.get("tokenizer_mode") or options.keys() - {"clean", "strip_sep_token"}:
            raise UserError("This model's tokenizer has settings that are not supported here.")
        clean = options.get("clean", "whitespace")
        self._clean = str if clean == "none" else get_clean_fn(clean)
        self._settings: dict[str, Any] = json.loads(files.settings)
        with _refused("be read"):
            self._tokenizer = Tokenizer.from_str(files.vocabulary)
        self._strip = options.get("strip_sep_token", False)
        self._pad_id = self._special("pad_token")
        self._sep_id = self._special("sep_token") if self._strip else None

    def __call__(self, texts: Sequence[str], context_length: int | None = None) -> Tensor:
        """Token ids (texts, context), cut or filled up to the context.

        Raises:
            UserError: An id is beyond the text tower's vocabulary, or the files are damaged.
        """
        length = context_length or self.context_length
        ids = torch.full((len(texts), length), self._pad_id)
        with _refused("make tokens of these prompts"):
            self._tokenizer.enable_truncation(length)
            self._tokenizer.no_padding()
            found = self._tokenizer.encode_batch([self._clean(text) for text in texts])
            for row, one in enumerate(found):
                ids[row, : len(one.ids)] = torch.tensor(one.ids, dtype=torch.long)
        if int(ids.max()) >= self._vocabulary:
            raise UserError(
                f"The tokenizer gives tokens beyond the {self._vocabulary} of the text tower: the"
                " two do not belong together."
            )
        return ids.masked_fill(ids == self._sep_id, 0) if self._strip else ids

    def _special(self, name: str) -> int:
        """The id of a special token, by the settings or under its usual names."""
        told = self._settings.get(name)
        told = told.get("content") if isinstance(told, dict) else told
        for token in (told, *_USUAL[name]):
            found = self._tokenizer.token_to_id(token) if isinstance(token, str) else None
            if found is not None:
                return found
        raise UserError(f"The tokenizer's files name no {name}.")
