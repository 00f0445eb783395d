"""The grammar of scenes: what can be shown, how it is worded, and what pretraining never sees.

A scene is one to three groups of equal objects, at most one spatial relation, and a background.
Its words are the prompt; a picture that contradicts the prompt is simply another scene.
"""

from dataclasses import dataclass

import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond", "crescent")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
SHADES = ("", "light", "dark")
SIZES = ("", "small", "large")
COUNTS = ("no", "a", "two", "three", "four", "five")
BACKGROUNDS = ("white", "grey", "black", "sand", "sky", "dusk")
RELATIONS = ("to the left of", "to the right of", "above", "below", "in front of", "inside")
OPPOSITES = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
}

WITHHELD_RELATIONS = ("in front of", "inside")
"""Relations that no pretraining scene has."""

WITHHELD_PAIRS = frozenset(
    {
        ("star", "blue"),
        ("heart", "green"),
        ("circle", "purple"),
        ("cross", "orange"),
        ("triangle", "pink"),
        ("ring", "brown"),
    }
)
"""Shape-colour pairs that no pretraining scene has."""


@dataclass(frozen=True)
class Group:
    """Objects that look the same.

    Attributes:
        shape: One of `SHAPES`.
        colour: One of `COLOURS`.
        shade: One of `SHADES`; the empty one is the plain colour.
        size: One of `SIZES`; the empty one is medium.
        count: How many, 1 to 5.
    """

    shape: str
    colour: str
    shade: str = ""
    size: str = ""
    count: int = 1

    @property
    def noun(self) -> str:
        """The shape's name in the number of the group."""
        if self.count == 1:
            return self.shape
        return self.shape + ("es" if self.shape.endswith("s") else "s")

    @property
    def words(self) -> str:
        """The noun phrase, such as `two small dark red stars`."""
        look = (self.size, self.shade, self.colour, self.noun)
        article = COUNTS[self.count]
        phrase = " ".join(word for word in look if word)
        return f"{'an' if article == 'a' and phrase[0] in 'aeiou' else article} {phrase}"


@dataclass(frozen=True)
class Scene:
    """What a picture shows, or a prompt asks for.

    Attributes:
        groups: One to three groups of different shapes.
        relation: One of `RELATIONS`, of the first to the second of two groups, or empty.
        background: One of `BACKGROUNDS`.
    """

    groups: tuple[Group, ...]
    relation: str
    background: str

    @property
    def words(self) -> str:
        """The prompt, background included."""
        return f"{self.objects} on a {self.background} background"

    @property
    def objects(self) -> str:
        """The prompt without its background."""
        phrases = [group.words for group in self.groups]
        if self.relation:
            return f"{phrases[0]} {self.relation} {phrases[1]}"
        return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[1:] else phrases)

    @property
    def key(self) -> tuple:
        """What is the same for all wordings: equal keys mean equal scenes."""
        groups, relation = self.groups, self.relation
        if relation in ("to the right of", "below"):
            groups, relation = groups[::-1], OPPOSITES[relation]
        elif not relation:
            groups = tuple(sorted(groups, key=lambda group: group.words))
        return groups, relation, self.background


def draw_scene(rng: np.random.Generator, withheld: bool, n_groups: int | None = None) -> Scene:
    """A random scene.

    Args:
        rng: Source of all draws.
        withheld: Allow the pairs and relations withheld from pretraining.
        n_groups: Of so many groups; None draws the number too.
    """
    number = int(rng.choice((1, 2, 3), p=(0.2, 0.6, 0.2))) if n_groups is None else n_groups
    relation = ""
    if number == 2 and rng.random() < 0.75:
        relation = str(rng.choice(RELATIONS if withheld else RELATIONS[:4]))
    shapes = rng.permutation(SHAPES)[:number]
    colours = rng.permutation(COLOURS)[:number]
    background = str(rng.choice(BACKGROUNDS))
    groups = tuple(
        _draw_group(rng, str(shape), str(colour), number, relation)
        for shape, colour in zip(shapes, colours, strict=True)
    )
    if relation == "inside":
        groups = (_sized(groups[0], "small"), Group("square", groups[1].colour, "", "large"))
    scene = Scene(groups, relation, background)
    if scene.groups[0].shape == "square" and relation == "inside":
        return draw_scene(rng, withheld, n_groups)
    if not all(_stands_out(group, background) for group in scene.groups):
        return draw_scene(rng, withheld, n_groups)
    if not withheld and not allowed_in_pretraining(scene):
        return draw_scene(rng, withheld, n_groups)
    return scene


def allowed_in_pretraining(scene: Scene) -> bool:
    """Whether nothing of the scene is withheld from pretraining."""
    pairs = {(group.shape, group.colour) for group in scene.groups}
    return not pairs & WITHHELD_PAIRS and scene.relation not in WITHHELD_RELATIONS


def largest_count(n_groups: int, relation: str) -> int:
    """How many objects a group may have so that all fit into the picture."""
    if relation in WITHHELD_RELATIONS or n_groups == 3:
        return 1
    return 5 if n_groups == 1 else 3


def _draw_group(
    rng: np.random.Generator, shape: str, colour: str, n_groups: int, relation: str
) -> Group:
    shade = str(rng.choice(SHADES, p=(0.6, 0.2, 0.2)))
    most = largest_count(n_groups, relation)
    count = 1 if most == 1 or rng.random() < 0.5 else int(rng.integers(2, most + 1))
    sizes = SIZES if count == 1 else SIZES[:2]
    return Group(shape, colour, shade, str(rng.choice(sizes)), count)


def _stands_out(group: Group, background: str) -> bool:
    """Whether the group can be told from the background."""
    if group.shade == "dark" and background in ("black", "dusk"):
        return False
    if group.shade == "light" and background == "white":
        return False
    lost = {("purple", "", "dusk"), ("blue", "light", "sky"), ("orange", "light", "sand")}
    return (group.colour, group.shade, background) not in lost


def _sized(group: Group, size: str) -> Group:
    return Group(group.shape, group.colour, group.shade, size, group.count)
