"""Pictures that contradict their prompt: another scene, and what is wrong with it in words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qa_core.data.synthetic.grammar import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    OPPOSITES,
    SHADES,
    SHAPES,
    SIZES,
    Group,
    Scene,
    largest_count,
)

GROUP_FAULTS = ("missing", "shape", "colour", "shade", "size", "count")
SCENE_FAULTS = ("relation", "background")


@dataclass(frozen=True)
class Fault:
    """One contradiction between picture and prompt.

    Attributes:
        kind: One of `GROUP_FAULTS` or `SCENE_FAULTS`.
        words: The fault as a clause, such as `the star is red, not blue`.
        amount: How many objects too many or too few for `count`, else 1.
    """

    kind: str
    words: str
    amount: int = 1


def contradict(
    scene: Scene,
    rate: float,
    mix: Sequence[float],
    background_matters: bool,
    rng: np.random.Generator,
) -> tuple[Scene, tuple[Fault, ...]]:
    """The scene that a generator shows instead, and its faults.

    Args:
        scene: What the prompt asks for.
        rate: Probability that a group, or the relation, goes wrong.
        mix: Weights (6,) of `GROUP_FAULTS`.
        background_matters: Whether the prompt names the background.
        rng: Source of all draws.
    """
    groups: list[Group] = []
    faults: list[Fault] = []
    for index, group in enumerate(scene.groups):
        shown: Group | None = group
        if rng.random() < rate:
            last = index == len(scene.groups) - 1 and not groups
            shown, fault = _spoil(group, scene, mix, last, rng)
            faults.append(fault)
        if shown is not None:
            groups.append(shown)
    shown_scene = Scene(tuple(groups), scene.relation, scene.background)
    if len(groups) < len(scene.groups):
        shown_scene = replace(shown_scene, relation="")
    elif scene.relation and rng.random() < rate:
        shown_scene, fault = _misplace(shown_scene)
        faults.append(fault)
    if background_matters and rng.random() < 0.3 * rate:
        other = _other(BACKGROUNDS, {scene.background}, rng)
        faults.append(Fault("background", f"the background is {other}, not {scene.background}"))
        shown_scene = replace(shown_scene, background=other)
    return shown_scene, tuple(faults)


def _spoil(
    group: Group, scene: Scene, mix: Sequence[float], last: bool, rng: np.random.Generator
) -> tuple[Group | None, Fault]:
    """A wrong version of the group and the fault; None is a missing group, which `last` forbids."""
    weights = np.asarray(mix, dtype=float).copy()
    most = largest_count(len(scene.groups), scene.relation)
    if last:
        weights[GROUP_FAULTS.index("missing")] = 0
    if most == 1 or group.size == "large":
        weights[GROUP_FAULTS.index("count")] = 0
    if scene.relation == "inside":
        weights[GROUP_FAULTS.index("size")] = 0
    kind = str(rng.choice(GROUP_FAULTS, p=weights / weights.sum()))
    return _SPOIL[kind](group, scene, rng)


def _noun_and_verb(group: Group) -> tuple[str, str]:
    return group.noun, "is" if group.count == 1 else "are"


def _leave_out(group: Group, scene: Scene, rng: np.random.Generator) -> tuple[None, Fault]:
    noun, verb = _noun_and_verb(group)
    return None, Fault("missing", f"the {noun} {verb} missing")


def _miscount(group: Group, scene: Scene, rng: np.random.Generator) -> tuple[Group, Fault]:
    most = largest_count(len(scene.groups), scene.relation)
    near = [n for n in range(1, most + 1) if n != group.count and abs(n - group.count) <= 2]
    shown = replace(group, count=int(rng.choice(near)))
    _, verb = _noun_and_verb(shown)
    words = f"there {verb} {_number(shown.count)} {shown.noun}, not {_number(group.count)}"
    return shown, Fault("count", words, abs(shown.count - group.count))


def _reshape(group: Group, scene: Scene, rng: np.random.Generator) -> tuple[Group, Fault]:
    noun, verb = _noun_and_verb(group)
    shown = replace(group, shape=_other(SHAPES, {other.shape for other in scene.groups}, rng))
    return shown, Fault("shape", f"there {verb} {shown.words} instead of the {noun}")


def _recolour(group: Group, scene: Scene, rng: np.random.Generator) -> tuple[Group, Fault]:
    noun, verb = _noun_and_verb(group)
    colour = _other(COLOURS, {other.colour for other in scene.groups}, rng)
    words = f"the {noun} {verb} {colour}, not {group.colour}"
    return replace(group, colour=colour), Fault("colour", words)


def _reshade(group: Group, scene: Scene, rng: np.random.Generator) -> tuple[Group, Fault]:
    shade = _other(SHADES, {group.shade}, rng)
    right, wrong = group.shade or "plain", shade or "plain"
    words = f"the {group.colour} of the {group.noun} is {wrong}, not {right}"
    return replace(group, shade=shade), Fault("shade", words)


def _resize(group: Group, scene: Scene, rng: np.random.Generator) -> tuple[Group, Fault]:
    noun, verb = _noun_and_verb(group)
    size = _other(SIZES if group.count == 1 else SIZES[:2], {group.size}, rng)
    words = f"the {noun} {verb} {size or 'medium'}, not {group.size or 'medium'}"
    return replace(group, size=size), Fault("size", words)


_SPOIL = {
    "missing": _leave_out,
    "shape": _reshape,
    "colour": _recolour,
    "shade": _reshade,
    "size": _resize,
    "count": _miscount,
}


def _misplace(scene: Scene) -> tuple[Scene, Fault]:
    first, second = (group.noun for group in scene.groups)
    verb = "is" if scene.groups[0].count == 1 else "are"
    if scene.relation == "in front of":
        words = f"the {first} {verb} behind the {second}, not in front of it"
        return replace(scene, groups=scene.groups[::-1]), Fault("relation", words)
    wrong = OPPOSITES.get(scene.relation, "to the left of")
    words = f"the {first} {verb} {wrong} the {second}, not {scene.relation} it"
    return replace(scene, relation=wrong), Fault("relation", words)


def _other(values: Sequence[str], taken: set[str], rng: np.random.Generator) -> str:
    return str(rng.choice([value for value in values if value not in taken]))


def _number(count: int) -> str:
    return "one" if count == 1 else COUNTS[count]
