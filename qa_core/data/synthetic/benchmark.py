"""The embedded benchmark: five generators answer the same prompts; a panel rates the pictures.

Its prompts lie in sets that share none, each rated by a panel of its own: the tuning pool, and the
replicates, each with training, validation and test prompts, and a reserve that only a study of more
data trains on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd

from qa_core.data.synthetic import rating
from qa_core.data.synthetic.distort import KINDS, Distortion, distort
from qa_core.data.synthetic.faults import Fault, contradict
from qa_core.data.synthetic.grammar import BACKGROUNDS, Scene, draw_scene
from qa_core.data.synthetic.render import render
from qa_core.data.synthetic.seen import is_unseen, was_seen

BENCHMARK_VERSION = "2"
"""Raised with every change of a picture or a score; figures of two versions do not compare."""

POOL = {"pool": 67}
REPLICATE = {"train": 157, "validation": 22, "test": 300, "reserve": 3 * 157}
"""Prompts by part. With the reserve, a replicate trains on up to four times as many."""

N_PROMPTS_1 = 224
"""Prompts of version 1, which pretraining left out."""

_SEED = 20_261_124
_PROMPTS, _PICTURE, _PANEL, _ROLES, _DEGRADE = range(5)  # streams of random numbers

NAMED_SHARE = 0.75
"""Share of prompts that name the background."""

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

    @property
    def meaning(self) -> tuple:
        """What is the same for all wordings: the scene, its background only where it is named."""
        groups, relation, background = self.scene.key
        return groups, relation, background if self.names_background else ""


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
def first_version_keys() -> frozenset:
    """Keys of all scenes that version 1 asked for or showed: pretraining left them out."""
    rng = np.random.default_rng([_SEED, _PROMPTS])
    prompts: dict[str, Prompt] = {}
    while len(prompts) < N_PROMPTS_1:
        prompt = Prompt(draw_scene(rng, withheld=True), bool(rng.random() < NAMED_SHARE))
        prompts.setdefault(prompt.words, prompt)
    keys = {prompt.scene.key for prompt in prompts.values()}
    for index, prompt in enumerate(prompts.values()):
        for role in _roles([_SEED, _ROLES, index]):
            maker = list(GENERATORS.values())[role]
            keys.add(_show(prompt, maker, [_SEED, _PICTURE, index, role])[0].key)
    return frozenset(keys)


def draw_sets(n_replicates: int) -> list[list[Prompt]]:
    """The prompts of the pool and of the first replicates, none twice, in whatever words.

    The mix of scenes stays as `draw_scene` and `NAMED_SHARE` make it in the number of groups and
    the backgrounds named: what may not be asked for is drawn again with both unchanged.
    """
    rng, taken = np.random.default_rng([_SEED, _PROMPTS, int(BENCHMARK_VERSION)]), set[tuple]()
    sizes = [sum(POOL.values()), *[sum(REPLICATE.values())] * n_replicates]
    return [draw_prompts(size, rng, taken) for size in sizes]


def draw_prompts(n: int, rng: np.random.Generator, taken: set[tuple]) -> list[Prompt]:
    """So many prompts of the benchmark's population.

    Args:
        n: How many.
        rng: Source of all draws.
        taken: Meanings that are not drawn; those that are drawn join them.
    """
    return [_new_prompt(rng, taken) for _ in range(n)]


def answer_prompts(prompts: Sequence[Prompt], number: int) -> list[Picture]:
    """The pictures of a set, 0 for the pool and r + 1 for replicate r, without their pixels."""
    return [
        _answer(prompt, (number, index), place, role)
        for index, prompt in enumerate(prompts)
        for place, role in enumerate(_roles([_SEED, _ROLES, number, index]))
    ]


def rate_pictures(pictures: Sequence[Picture], number: int) -> pd.DataFrame:
    """A set's table without image paths, rated by its panel: one row a picture.

    Args:
        pictures: Of the set, or of its first prompts alone.
        number: The set's.
    """
    quality = np.asarray([rating.picture_quality(p.distortions) for p in pictures])
    agreement = np.asarray(
        [rating.agreement(p.faults, len(p.prompt.scene.groups)) for p in pictures]
    )
    true_quality, true_consistency = rating.true_opinions(quality, agreement)
    rng = np.random.default_rng([_SEED, _PANEL, number, int(BENCHMARK_VERSION)])
    seen = rating.draw_raters(len(pictures), rng)
    on_quality = rating.rate(true_quality, seen, rng)
    on_consistency = rating.rate(true_consistency, seen, rng)
    places = np.arange(len(pictures)) // len(GENERATORS)
    parts = REPLICATE if number else POOL
    part_of = np.repeat([*parts], [count * len(GENERATORS) for count in parts.values()])
    frame = pd.DataFrame(
        {
            "name": [
                f"{number:02d}_{k:03d}_{p.generator}.png"
                for k, p in zip(places, pictures, strict=True)
            ],
            "prompt": [p.prompt.words for p in pictures],
            "group": [p.prompt.words for p in pictures],
            "generator": [p.generator for p in pictures],
            "replicate": number - 1,
            "part": part_of[: len(pictures)],
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


def draw_picture(picture: Picture, number: int, index: int) -> np.ndarray:
    """Pixels (48, 48, 3), uint8, of a picture, the one of that index in its set."""
    rng = np.random.default_rng([_SEED, _PICTURE, number, index, len(GENERATORS), 0])
    return distort(render(picture.shown, rng), picture.distortions, rng)


def _new_prompt(rng: np.random.Generator, taken: set[tuple]) -> Prompt:
    """A prompt whose meaning was not taken; it is from then on."""
    first = draw_scene(rng, withheld=True)
    prompt = Prompt(first, bool(rng.random() < NAMED_SHARE))
    while prompt.meaning in taken or not _may_be_asked(prompt):
        prompt = replace(prompt, scene=draw_scene(rng, True, n_groups=len(first.groups)))
    taken.add(prompt.meaning)
    return prompt


def _may_be_asked(prompt: Prompt) -> bool:
    """Whether pretraining showed nothing that the prompt may mean, and some of it may be shown."""
    scene = prompt.scene
    meant = [scene]
    if not prompt.names_background:
        meant = [replace(scene, background=background) for background in BACKGROUNDS]
    return not any(map(was_seen, meant)) and not all(map(is_unseen, meant))


def _roles(stream: list[int]) -> list[int]:
    """Whose contradictions each generator shows on a prompt."""
    rng = np.random.default_rng(stream)
    if rng.random() < TRADED_SHARE:
        return rng.permutation(len(GENERATORS)).tolist()
    return list(range(len(GENERATORS)))


def _answer(prompt: Prompt, where: tuple[int, int], place: int, role: int) -> Picture:
    """A generator's picture; while it shows what it may not, another, as faulty or faultless."""
    names = list(GENERATORS)
    stream = [_SEED, _PICTURE, *where, role, 0]
    shown, faults = _show(prompt, GENERATORS[names[role]], stream)
    faulty = bool(faults)
    while was_seen(shown) or is_unseen(shown) or bool(faults) != faulty:
        stream[-1] += 1
        shown, faults = _show(prompt, GENERATORS[names[role]], stream)
    rng = np.random.default_rng([_SEED, _DEGRADE, *where, place])
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
