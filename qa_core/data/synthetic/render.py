"""Clean pictures of scenes at the resolution that the backbone sees."""

import math

import numpy as np
from PIL import Image, ImageDraw

from qa_core.data.synthetic.grammar import Group, Scene

SIZE = 48
"""Side of every picture, in pixels."""

_SCALE = 4  # drawn this much larger, then averaged: antialiasing
_DIAMETER = {"small": 9.5, "": 14.0, "large": 20.5}

_COLOURS = {
    "red": (214, 32, 32),
    "orange": (246, 134, 14),
    "yellow": (240, 214, 30),
    "green": (34, 150, 52),
    "blue": (36, 78, 214),
    "purple": (132, 40, 168),
    "pink": (244, 116, 186),
    "brown": (126, 76, 36),
}
_BACKGROUNDS = {  # top and bottom of a gradient
    "white": ((250, 250, 250), (236, 236, 236)),
    "grey": ((150, 150, 150), (128, 128, 128)),
    "black": ((18, 18, 18), (34, 34, 34)),
    "sand": ((226, 206, 166), (204, 180, 136)),
    "sky": ((150, 206, 246), (206, 234, 252)),
    "dusk": ((44, 36, 84), (96, 58, 104)),
}

Box = tuple[float, float, float, float]
Point = tuple[float, float]


def render(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """The scene's clean picture (SIZE, SIZE, 3), uint8; positions and angles are drawn."""
    image = _backdrop(scene.background)
    draw = ImageDraw.Draw(image)
    for group, centres, unit in _place(scene, rng):
        colour = shaded(group.colour, group.shade)
        for x, y in centres:
            radius = unit * rng.uniform(0.94, 1.06) / 2
            _draw_shape(draw, group.shape, (x, y), radius, colour, rng.uniform(-0.2, 0.2))
    return np.asarray(image.reduce(_SCALE))


def shaded(colour: str, shade: str) -> tuple[int, int, int]:
    """RGB of a colour in a shade."""
    rgb = np.asarray(_COLOURS[colour], dtype=float)
    if shade == "light":
        rgb = rgb + 0.5 * (255 - rgb)
    elif shade == "dark":
        rgb = 0.52 * rgb
    r, g, b = rgb.round().astype(int).tolist()
    return r, g, b


def _backdrop(name: str) -> Image.Image:
    top, bottom = (np.asarray(end, dtype=float) for end in _BACKGROUNDS[name])
    share = np.linspace(0, 1, SIZE * _SCALE)[:, None]
    column = (top + share * (bottom - top)).round().astype(np.uint8)
    return Image.fromarray(np.repeat(column[:, None], SIZE * _SCALE, axis=1))


def _place(scene: Scene, rng: np.random.Generator) -> list[tuple[Group, list[Point], float]]:
    """Each group with its objects' centres and diameter; later ones lie in front."""
    groups, half = scene.groups, SIZE / 2
    if scene.relation in ("in front of", "inside"):
        return _place_overlapping(scene, rng)
    if len(groups) == 1:
        boxes: list[Box] = [(0, 0, SIZE, SIZE)]
    elif len(groups) == 2:
        boxes = _halves(scene.relation or str(rng.choice(("to the left of", "above"))))
        if not scene.relation and rng.random() < 0.5:
            boxes.reverse()
    else:
        corners = [(x, y, x + half, y + half) for x in (0, half) for y in (0, half)]
        boxes = [corners[k] for k in rng.permutation(4)[:3]]
    return [
        (group, _centres(group, box, rng), _DIAMETER[group.size])
        for group, box in zip(groups, boxes, strict=True)
    ]


def _halves(relation: str) -> list[Box]:
    half = SIZE / 2
    first: dict[str, list[Box]] = {
        "to the left of": [(0, 0, half, SIZE), (half, 0, SIZE, SIZE)],
        "above": [(0, 0, SIZE, half), (0, half, SIZE, SIZE)],
    }
    if relation in first:
        return first[relation]
    return first["to the left of" if relation == "to the right of" else "above"][::-1]


def _place_overlapping(
    scene: Scene, rng: np.random.Generator
) -> list[tuple[Group, list[Point], float]]:
    front, back = scene.groups
    x, y = SIZE / 2 + rng.uniform(-5, 5, size=2)
    if scene.relation == "inside":
        return [(back, [(x, y)], 30.0), (front, [(x, y)], _DIAMETER["small"] + 1)]
    angle = rng.uniform(0, 2 * math.pi)
    reach = 0.36 * (_DIAMETER[front.size] + _DIAMETER[back.size])
    shift = (reach * math.cos(angle) / 2, reach * math.sin(angle) / 2)
    return [
        (back, [(x - shift[0], y - shift[1])], _DIAMETER[back.size]),
        (front, [(x + shift[0], y + shift[1])], _DIAMETER[front.size]),
    ]


def _centres(group: Group, box: Box, rng: np.random.Generator) -> list[Point]:
    """Centres in distinct cells of the box, each cell wide enough for the object."""
    left, top, right, bottom = box
    columns, rows = _grid(group.count, right - left, bottom - top)
    width, height = (right - left) / columns, (bottom - top) / rows
    slack_x = max(0.0, (width - _DIAMETER[group.size]) / 2 - 0.5)
    slack_y = max(0.0, (height - _DIAMETER[group.size]) / 2 - 0.5)
    cells = rng.permutation(columns * rows)[: group.count]
    return [
        (
            left + width * (cell % columns + 0.5) + rng.uniform(-1, 1) * min(slack_x, 6),
            top + height * (cell // columns + 0.5) + rng.uniform(-1, 1) * min(slack_y, 6),
        )
        for cell in cells.tolist()
    ]


def _grid(count: int, width: float, height: float) -> tuple[int, int]:
    if width == height:
        return (1, 1) if count == 1 else (2, 2) if count <= 4 else (3, 2)
    return (1, count) if height > width else (count, 1)


def _draw_shape(
    draw: ImageDraw.ImageDraw,
    shape: str,
    centre: Point,
    radius: float,
    colour: tuple[int, int, int],
    turn: float,
) -> None:
    x, y, r = centre[0] * _SCALE, centre[1] * _SCALE, radius * _SCALE
    if shape == "circle":
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif shape == "ring":
        draw.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=round(0.42 * r))
    else:
        outline = _OUTLINES[shape]
        cos, sin = math.cos(turn), math.sin(turn)
        points = [(x + r * (cos * u - sin * v), y + r * (sin * u + cos * v)) for u, v in outline]
        draw.polygon(points, fill=colour)


def _star() -> list[Point]:
    angles = [math.pi * (k / 5 - 0.5) for k in range(10)]
    radii = [1.12 if k % 2 == 0 else 0.46 for k in range(10)]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def _heart() -> list[Point]:
    steps = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    x = 16 * np.sin(steps) ** 3
    y = -(13 * np.cos(steps) - 5 * np.cos(2 * steps) - 2 * np.cos(3 * steps) - np.cos(4 * steps))
    return list(zip((x / 16).tolist(), (y / 16).tolist(), strict=True))


def _crescent() -> list[Point]:
    outer = np.linspace(0.28 * math.pi, 1.72 * math.pi, 24)
    inner = outer[::-1]
    out = [(math.cos(a), math.sin(a)) for a in outer]
    return out + [(0.48 + 0.78 * math.cos(a), 0.98 * math.sin(a)) for a in inner]


_OUTLINES: dict[str, list[Point]] = {
    "square": [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
    "triangle": [(0, -1.05), (1.05, 0.85), (-1.05, 0.85)],
    "diamond": [(0, -1.1), (0.72, 0), (0, 1.1), (-0.72, 0)],
    "cross": [
        (s * a, t * b)
        for s, t, pair in (
            (-1, -1, ((1, 0.34), (0.34, 0.34), (0.34, 1))),
            (1, -1, ((0.34, 1), (0.34, 0.34), (1, 0.34))),
            (1, 1, ((1, 0.34), (0.34, 0.34), (0.34, 1))),
            (-1, 1, ((0.34, 1), (0.34, 0.34), (1, 0.34))),
        )
        for a, b in pair
    ],
    "star": _star(),
    "heart": _heart(),
    "crescent": _crescent(),
}
