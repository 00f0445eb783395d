"""The embedded backbone's files, and its registration with open_clip."""

from pathlib import Path
from typing import Any

import open_clip

from qa_core.settings.model import EMBEDDED_BACKBONE

TINY_NAME = EMBEDDED_BACKBONE

_FOLDER = Path(__file__).parent
TINY_CONFIG = _FOLDER / f"{TINY_NAME}.json"
TINY_WEIGHTS = _FOLDER / f"{TINY_NAME}.safetensors"
TINY_MERGES = _FOLDER / f"{TINY_NAME}-bpe.txt.gz"


def register_tiny() -> None:
    """Register `qa-tiny` as a model name of open_clip; calling it twice does no harm."""
    if TINY_NAME not in open_clip.list_models():  # adding one reads all configurations again
        open_clip.add_model_config(TINY_CONFIG)


def tiny_tokenizer() -> Any:
    """open_clip's tokenizer with the merges of `qa-tiny`; other scripts are spelled in bytes."""
    register_tiny()
    return open_clip.get_tokenizer(TINY_NAME, bpe_path=str(TINY_MERGES))
