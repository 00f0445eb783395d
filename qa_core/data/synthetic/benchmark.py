"""The embedded benchmark: five generators answer the same prompts; a panel rates the pictures."""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from qa_core.data.rated_table import RatedTable
from qa_core.data.synthetic import rating
from qa_core.data.synthetic.distort import KINDS, Distortion, distort
from qa_core.data.synthetic.faults import Fault, contradict
from qa_core.data.synthetic.grammar import BACKGROUNDS, Scene, draw_scene
from qa_core.data.synthetic.render import render

BENCHMARK_VERSION = "1"
"""Raised with every change of a picture or a score; figures of two versions do not compare."""

N_PROMPTS = 224
_SEED = 20_261_124
_PROMPTS, _PICTURE, _PANEL, _ROLES, _DEGRADE = range(5)  # streams of random numbers

TRADED_SHARE = 0.4
"""Share of prompts on which the generators obey in a random order instead of their own: what
suits one does not suit another, and who made a picture tells less of it."""


@dataclass(frozen=True)
class Generator:
    """A simulated text-to-image model.

    Attributes:
        rate: Probability that a group or a relation contradicts the prompt.
        mix: Weights of missing object, wrong shape, colour, shade, size, count.
        n_distortions: Probabilities of 0, 1, 2 and 3 distortions.
        strength: Parameters of the beta distribution of their strengths.
        favours: Kinds of distortion three times as likely as the others.
    """

    rate: float
    mix: tuple[float, ...]
    n_distortions: tuple[float, ...]
    strength: tuple[float, float]
    favours: tuple[str, ...]


GENERATORS = {
    "aster": Generator(
        0.12, (1, 1, 2, 3, 2, 2), (0.30, 0.50, 0.18, 0.02), (1.3, 2.4), ("fading", "compression")
    ),
    "birch": Generator(
        0.28, (2, 2, 2, 2, 2, 2), (0.20, 0.50, 0.25, 0.05), (1.3, 2.2), ("blur", "ghosting")
    ),
    "comet": Generator(
        0.28, (1, 1, 3, 2, 1, 3), (0.12, 0.48, 0.33, 0.07), (1.5, 1.7), ("noise", "streaks")
    ),
    "delta": Generator(
        0.45, (3, 2, 2, 1, 1, 2), (0.10, 0.45, 0.36, 0.09), (1.6, 1.6), ("warping", "darkness")
    ),
    "ember": Generator(
        0.62, (3, 3, 3, 1, 1, 2), (0.06, 0.40, 0.40, 0.14), (1.8, 1.4), ("blocking", "compression")
    ),
}


@dataclass(frozen=True)
class Prompt:
    """A prompt: the scene it asks for, and whether it names the background."""

    scene: Scene
    names_background: bool

    @property
    def words(self) -> str:
        """The text."""
        return self.scene.words if self.names_background else self.scene.objects


@dataclass(frozen=True)
class Picture:
    """A generator's answer to a prompt, before it is drawn."""

    prompt: Prompt
    generator: str
    shown: Scene
    faults: tuple[Fault, ...]
    distortions: tuple[Distortion, ...]

    @property
    def explanation(self) -> str:
        """The known faults in words."""
        clauses = [fault.words for fault in self.faults]
        clauses += [distortion.words for distortion in self.distortions]
        return "; ".join(clauses) or "no fault"


@cache
def benchmark_pictures() -> tuple[Picture, ...]:
    """All pictures of the benchmark, prompt by prompt, without their pixels."""
    rng = np.random.default_rng([_SEED, _PROMPTS])
    prompts: dict[str, Prompt] = {}
    while len(prompts) < N_PROMPTS:
        prompt = Prompt(draw_scene(rng, withheld=True), bool(rng.random() < 0.75))
        prompts.setdefault(prompt.words, prompt)
    return tuple(
        _answer(prompt, index, place, role)
        for index, prompt in enumerate(prompts.values())
        for place, role in enumerate(_roles(index))
    )


@cache
def benchmark_keys() -> frozenset:
    """Keys of all scenes that the benchmark asks for or shows."""
    pictures = benchmark_pictures()
    return frozenset({p.shown.key for p in pictures} | {p.prompt.scene.key for p in pictures})


def benchmark_frame() -> pd.DataFrame:
    """The benchmark's table without image paths: rated by the panel, one row a picture."""
    pictures = benchmark_pictures()
    quality = np.asarray([rating.picture_quality(p.distortions) for p in pictures])
    agreement = np.asarray(
        [rating.agreement(p.faults, len(p.prompt.scene.groups)) for p in pictures]
    )
    true_quality, true_consistency = rating.true_opinions(quality, agreement)
    rng = np.random.default_rng([_SEED, _PANEL])
    seen = rating.draw_raters(len(pictures), rng)
    on_quality = rating.rate(true_quality, seen, rng)
    on_consistency = rating.rate(true_consistency, seen, rng)
    places = np.arange(len(pictures)) // len(GENERATORS)
    frame = pd.DataFrame(
        {
            "name": [f"{k:03d}_{p.generator}.png" for k, p in zip(places, pictures, strict=True)],
            "prompt": [p.prompt.words for p in pictures],
            "group": [p.prompt.words for p in pictures],
            "generator": [p.generator for p in pictures],
            "mos_quality": on_quality.mos,
            "mos_consistency": on_consistency.mos,
            "std_quality": on_quality.std,
            "std_consistency": on_consistency.std,
            "n_raters": seen.sum(axis=1),
            "explanation": [p.explanation for p in pictures],
            "true_quality": true_quality,
            "true_consistency": true_consistency,
        }
    )
    return frame.round(6)


def draw_picture(index: int) -> np.ndarray:
    """Pixels (48, 48, 3), uint8, of the benchmark's picture of that number."""
    picture = benchmark_pictures()[index]
    rng = np.random.default_rng([_SEED, _PICTURE, index, len(GENERATORS)])
    return distort(render(picture.shown, rng), picture.distortions, rng)


def load_benchmark(cache_dir: Path) -> RatedTable:
    """The embedded benchmark, rendered on first use into a folder of `cache_dir`.

    Several processes may do so at once: each renders into a folder of its own, and the first to
    finish gives it the final name.
    """
    folder = Path(cache_dir) / f"benchmark-{BENCHMARK_VERSION}-{source_digest()}"
    if not folder.is_dir():
        _build(folder)
    frame = pd.read_csv(folder / "table.csv", keep_default_na=False)
    images = (folder / "images").resolve()
    frame["image_path"] = [str(images / name) for name in frame["name"]]
    return RatedTable(
        frame=frame,
        name="embedded benchmark",
        version=BENCHMARK_VERSION,
        range_quality=rating.MARKS,
        range_consistency=rating.MARKS,
        notes=(
            "Rendered scenes rated by a simulated panel: verdicts hold on this benchmark.",
            "The distortions warping and ghosting, six shape-colour pairs and the relations"
            " 'in front of' and 'inside' were withheld from the backbone's pretraining.",
        ),
    )


def _build(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    (draft / "images").mkdir()
    frame = benchmark_frame()
    for index, name in enumerate(frame["name"]):
        Image.fromarray(draw_picture(index)).save(draft / "images" / name)
    frame.to_csv(draft / "table.csv", index=False)
    draft.chmod(0o755)
    try:
        os.rename(draft, folder)
    except OSError:  # another process was faster
        shutil.rmtree(draft)
        if not folder.is_dir():
            raise


@cache
def source_digest() -> str:
    """Hash of the code of this package, so that no stale cache of what it draws is ever read."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _roles(index: int) -> list[int]:
    """Whose contradictions each generator shows on the prompt of that number."""
    rng = np.random.default_rng([_SEED, _ROLES, index])
    if rng.random() < TRADED_SHARE:
        return rng.permutation(len(GENERATORS)).tolist()
    return list(range(len(GENERATORS)))


def _answer(prompt: Prompt, index: int, place: int, role: int) -> Picture:
    names = list(GENERATORS)
    shown, faults = _show(prompt, GENERATORS[names[role]], [_SEED, _PICTURE, index, role])
    rng = np.random.default_rng([_SEED, _DEGRADE, index, place])
    return Picture(prompt, names[place], shown, faults, _degrade(GENERATORS[names[place]], rng))


def _show(
    prompt: Prompt, generator: Generator, stream: list[int]
) -> tuple[Scene, tuple[Fault, ...]]:
    rng = np.random.default_rng(stream)
    scene = prompt.scene
    if not prompt.names_background:
        scene = replace(scene, background=str(rng.choice(BACKGROUNDS)))
    return contradict(scene, generator.rate, generator.mix, prompt.names_background, rng)


def _degrade(generator: Generator, rng: np.random.Generator) -> tuple[Distortion, ...]:
    weights = np.asarray([3.0 if kind in generator.favours else 1.0 for kind in KINDS])
    number = int(rng.choice(4, p=generator.n_distortions))
    kinds = rng.choice(KINDS, size=number, replace=False, p=weights / weights.sum())
    return tuple(
        Distortion(str(kind), float(np.clip(rng.beta(*generator.strength), 0.05, 1.0)))
        for kind in kinds
    )
