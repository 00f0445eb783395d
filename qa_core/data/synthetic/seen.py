"""Which scenes the pretraining of the embedded backbone showed, so that no benchmark shows one.

The hashes lie beside the backbone's weights, to which they belong: `make backbone` writes both.
"""

import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qa_core.data.synthetic.grammar import Scene

SEEN_FILE = Path(__file__).parents[2] / "backbones" / "qa-tiny-seen.npy"

_SHARE_UNSEEN = 16  # one scene in so many is kept from pretraining, by its key


def scene_hash(scene: Scene) -> int:
    """What stands for a scene, in [0, 2**32): equal for equal keys, nearly never for others."""
    return zlib.crc32(repr(scene.key).encode())


def is_unseen(scene: Scene) -> bool:
    """Whether the scene is kept from pretraining, to measure retrieval and retention on."""
    return scene_hash(scene) % _SHARE_UNSEEN == 0


def was_seen(scene: Scene) -> bool:
    """Whether pretraining showed the scene (five in a million others are taken for one)."""
    return scene_hash(scene) in _seen_hashes()


def seen_hashes(scenes: Iterable[Scene]) -> NDArray[np.uint32]:
    """The hashes (n,) of what these scenes show, each once, ascending."""
    return np.unique(np.array([scene_hash(scene) for scene in scenes], dtype="<u4"))


@cache
def _seen_hashes() -> frozenset[int]:
    return frozenset(np.load(SEEN_FILE).tolist())
