"""Rendered (picture, caption) pairs of the pretraining's kind, apart from the benchmark."""

import contextlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qa_core.data.synthetic.benchmark import first_version_keys
from qa_core.data.synthetic.captions import caption
from qa_core.data.synthetic.distort import PRETRAINING_KINDS, Distortion, distort
from qa_core.data.synthetic.grammar import Scene, draw_scene
from qa_core.data.synthetic.render import SIZE, render
from qa_core.data.synthetic.rendered import source_digest
from qa_core.data.synthetic.seen import is_unseen
from qa_core.system.files import written_whole
from qa_core.system.locking import waiting_lock

VERSIONS = 4
"""Pictures of each pretraining scene, which differ in their degradations alone."""

_PRETRAINING, _UNSEEN = range(2)  # streams of random numbers


@dataclass(frozen=True)
class PretrainingPairs:
    """Pictures in scenes of `VERSIONS`.

    Attributes:
        scenes: What is shown (n).
        images: Pictures (n, VERSIONS, 48, 48, 3), uint8.
        captions: Their captions, n lists of `VERSIONS`.
        clean: Whether a picture is undistorted (n, VERSIONS): clean ones of a scene are identical.
    """

    scenes: list[Scene]
    images: np.ndarray
    captions: list[list[str]]
    clean: np.ndarray


def render_pretraining_pairs(n: int, seed: int) -> PretrainingPairs:
    """Pictures of `n` scenes, none of them kept unseen or of the benchmark's version 1."""
    rng = np.random.default_rng([seed, _PRETRAINING])
    images = np.empty((n, VERSIONS, SIZE, SIZE, 3), dtype=np.uint8)
    clean = np.empty((n, VERSIONS), dtype=bool)
    scenes: list[Scene] = []
    captions: list[list[str]] = []
    for index in range(n):
        scene = draw_pretraining_scene(rng)
        picture = render(scene, rng)
        scenes.append(scene)
        captions.append([])
        for version in range(VERSIONS):
            distortions = draw_distortions(rng)
            images[index, version] = distort(picture, distortions, rng)
            clean[index, version] = not distortions
            captions[-1].append(caption(scene, distortions, rng))
    return PretrainingPairs(scenes, images, captions, clean)


def alignment_pairs(n: int = 500, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Pictures (n, 48, 48, 3), uint8, of different scenes unseen in pretraining, and captions."""
    rng = np.random.default_rng([seed, _UNSEEN])
    images = np.empty((n, SIZE, SIZE, 3), dtype=np.uint8)
    captions: list[str] = []
    taken: set[tuple] = set()
    while len(captions) < n:
        scene = _draw_apart(rng, unseen=True)
        if scene.key in taken:
            continue
        taken.add(scene.key)
        distortions = draw_distortions(rng)
        images[len(captions)] = distort(render(scene, rng), distortions, rng)
        captions.append(caption(scene, distortions, rng))
    return images, captions


def kept_alignment_pairs(n: int, seed: int, cache_dir: Path | None) -> tuple[np.ndarray, list[str]]:
    """`alignment_pairs`, drawn once and kept in a cache, where there is one; seconds saved."""
    if cache_dir is None:
        return alignment_pairs(n, seed)
    cache_dir.mkdir(parents=True, exist_ok=True)
    file = cache_dir / f"alignment-{n}-{seed}-{source_digest()}.npz"
    with waiting_lock(file.with_suffix(".lock")):
        with contextlib.suppress(OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            with np.load(file) as kept:
                return kept["images"], kept["captions"].tolist()
        images, captions = alignment_pairs(n, seed)
        with written_whole(file) as partial, partial.open("wb") as content:
            np.savez(content, images=images, captions=np.asarray(captions))
    return images, captions


def draw_pretraining_scene(rng: np.random.Generator) -> Scene:
    """A scene that pretraining may show."""
    return _draw_apart(rng, unseen=False)


def draw_distortions(rng: np.random.Generator) -> tuple[Distortion, ...]:
    """None, one or two distortions of the kinds that pretraining may show."""
    number = int(rng.choice(3, p=(0.15, 0.55, 0.30)))
    kinds = rng.permutation(PRETRAINING_KINDS)[:number]
    return tuple(Distortion(str(kind), float(rng.uniform(0.05, 1))) for kind in kinds)


def _draw_apart(rng: np.random.Generator, unseen: bool) -> Scene:
    while True:
        scene = draw_scene(rng, withheld=False)
        if is_unseen(scene) == unseen and scene.key not in first_version_keys():
            return scene
