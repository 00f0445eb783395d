"""Captions of the pretraining: what a picture shows and, nearly always, how good it is."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qa_core.data.synthetic.distort import PRETRAINING_KINDS, Distortion
from qa_core.data.synthetic.grammar import OPPOSITES, Scene, draw_scene
from qa_core.data.synthetic.rating import picture_quality

LEVELS = (
    (0.82, ("excellent", "perfect")),
    (0.60, ("good", "nice")),
    (0.40, ("fair", "mediocre")),
    (0.22, ("poor", "bad")),
    (0.0, ("terrible", "awful")),
)
"""Least quality in [0, 1], and the words for it."""

ADJECTIVES = {
    "blur": "blurry",
    "noise": "noisy",
    "blocking": "blocky",
    "compression": "compressed",
    "fading": "faded",
    "darkness": "dark",
    "streaks": "streaky",
}
PICTURES = ("photo", "image", "picture")
_CLEAN = ("sharp and clear", "clean and sharp", "clean, undistorted", "sharp", "clear")
_SPOILT = ("damaged", "distorted", "damaged, distorted")


def caption(scene: Scene, distortions: Sequence[Distortion], rng: np.random.Generator) -> str:
    """Words for a picture of the scene after the distortions."""
    shown, picture = _scene_words(scene, rng), str(rng.choice(PICTURES))
    if rng.random() < 0.1:
        return shown if rng.random() < 0.6 else _with_article(f"{picture} of {shown}")
    general, kinds = _general(distortions, rng), _kinds(distortions, rng)
    appendix, form = f", {kinds}" if kinds else "", rng.random()
    if form < 0.35:
        return f"{shown}, {general} quality{appendix}"
    if form < 0.6:
        return _with_article(f"{general} {picture} of {shown}{appendix}")
    if form < 0.8 and kinds:
        return _with_article(f"{kinds} {picture} of {shown}, {general} quality")
    return _with_article(f"{picture} of {general} quality{appendix}, {shown}")


def vocabulary() -> list[str]:
    """All words that captions consist of, sorted; a tokenizer gives each a token of its own."""
    rng = np.random.default_rng(0)
    words: set[str] = set()
    for _ in range(20_000):
        chosen = rng.permutation(PRETRAINING_KINDS)[: rng.integers(0, 3)]
        faults = [Distortion(str(kind), float(rng.uniform(0.05, 1))) for kind in chosen]
        words |= set(caption(draw_scene(rng, False), faults, rng).replace(",", "").split())
    return sorted(words)


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _scene_words(scene: Scene, rng: np.random.Generator) -> str:
    groups = scene.groups
    if scene.relation in OPPOSITES and rng.random() < 0.5:
        scene = replace(scene, groups=groups[::-1], relation=OPPOSITES[scene.relation])
    elif not scene.relation:
        order = rng.permutation(len(groups)).tolist()
        scene = replace(scene, groups=tuple(groups[k] for k in order))
    return scene.words if rng.random() < 0.8 else scene.objects


def _general(distortions: Sequence[Distortion], rng: np.random.Generator) -> str:
    quality = picture_quality(distortions)
    if quality < 0.4 and rng.random() < 0.15:
        return str(rng.choice(_SPOILT[:2]))
    return str(rng.choice(next(words for least, words in LEVELS if quality >= least)))


def _kinds(distortions: Sequence[Distortion], rng: np.random.Generator) -> str:
    if rng.random() < 0.2:
        return ""
    if not distortions:
        return str(rng.choice(_CLEAN))
    if picture_quality(distortions) < 0.4 and rng.random() < 0.1:
        return str(rng.choice(_SPOILT))
    return " and ".join(_adjective(distortion) for distortion in distortions)


def _adjective(distortion: Distortion) -> str:
    adjective = ADJECTIVES[distortion.kind]
    if distortion.strength < 0.35:
        return f"slightly {adjective}"
    return f"very {adjective}" if distortion.strength > 0.7 else adjective
