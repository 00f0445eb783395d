"""Degradations at the resolution that the backbone sees (shrinking afterwards would hide them)."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter


@dataclass(frozen=True)
class Distortion:
    """One degradation.

    Attributes:
        kind: One of `KINDS`.
        strength: In (0, 1].
    """

    kind: str
    strength: float

    @property
    def words(self) -> str:
        """The fault in words, such as `strong blur`."""
        level = "slight" if self.strength < 0.35 else "strong" if self.strength > 0.7 else "visible"
        return f"{level} {self.kind}"


def distort(
    image: np.ndarray, distortions: Sequence[Distortion], rng: np.random.Generator
) -> np.ndarray:
    """The picture (size, size, 3), uint8, after the distortions in the order given."""
    for distortion in distortions:
        changed = _APPLY[distortion.kind](image, distortion.strength, rng)
        image = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
    return image


def _blur(image: np.ndarray, s: float, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.4 + 1.8 * s)))


def _noise(image: np.ndarray, s: float, rng: np.random.Generator) -> np.ndarray:
    return image + rng.normal(0, 6 + 46 * s, image.shape)


def _blocking(image: np.ndarray, s: float, rng: np.random.Generator) -> np.ndarray:
    """Blends with the picture's mosaic, whose tiles grow from 3 to 6 pixels."""
    size = image.shape[0]
    tiles = max(1, size // (3 + round(3 * s)))
    picture = Image.fromarray(image)
    small = picture.resize((tiles, tiles), Image.Resampling.BOX)
    mosaic = np.asarray(small.resize((size, size), Image.Resampling.NEAREST), dtype=float)
    share = 0.35 + 0.65 * s
    return image + share * (mosaic - image)


def _jpeg(image: np.ndarray, s: float, rng: np.random.Generator) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=round(60 - 55 * s**0.6), subsampling=1)
    return np.asarray(Image.open(buffer))


def _fading(image: np.ndarray, s: float, rng: np.random.Generator) -> np.ndarray:
    return image + (0.15 + 0.65 * s) * (185.0 - image)


def _darkness(image: np.ndarray, s: float, rng: np.random.Generator) -> np.ndarray:
    return image * (1 - (0.2 + 0.62 * s))


def _streaks(image: np.ndarray, s: float, rng: np.random.Generator) -> np.ndarray:
    """Replaces whole rows by bright or dark lines."""
    changed = image.astype(float)
    rows = rng.permutation(image.shape[0])[: 1 + round(9 * s)]
    changed[rows] = rng.choice((15.0, 240.0), size=(len(rows), 1, 1))
    return changed


def _warping(image: np.ndarray, s: float, rng: np.random.Generator) -> np.ndarray:
    """Shifts pixels along two crossed waves, with bilinear sampling."""
    size = image.shape[0]
    amplitude, wave = 0.6 + 2.6 * s, rng.uniform(9, 16)
    phase = rng.uniform(0, 2 * math.pi, size=2)
    y, x = np.mgrid[0:size, 0:size].astype(float)
    sample_x = np.clip(x + amplitude * np.sin(2 * math.pi * y / wave + phase[0]), 0, size - 1.001)
    sample_y = np.clip(y + amplitude * np.sin(2 * math.pi * x / wave + phase[1]), 0, size - 1.001)
    left, top = sample_x.astype(int), sample_y.astype(int)
    u, v = (sample_x - left)[..., None], (sample_y - top)[..., None]
    upper = image[top, left] * (1 - u) + image[top, left + 1] * u
    lower = image[top + 1, left] * (1 - u) + image[top + 1, left + 1] * u
    return upper * (1 - v) + lower * v


def _ghosting(image: np.ndarray, s: float, rng: np.random.Generator) -> np.ndarray:
    """Blends with a copy that is shifted sideways."""
    shift = int(rng.integers(3, 6)) * int(rng.choice((-1, 1)))
    return image + (0.14 + 0.36 * s) * (np.roll(image, shift, axis=1).astype(float) - image)


_APPLY: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "blur": _blur,
    "noise": _noise,
    "blocking": _blocking,
    "compression": _jpeg,
    "fading": _fading,
    "darkness": _darkness,
    "streaks": _streaks,
    "warping": _warping,
    "ghosting": _ghosting,
}

KINDS = tuple(_APPLY)
WITHHELD_KINDS = ("warping", "ghosting")
"""Kinds that no pretraining picture shows."""

PRETRAINING_KINDS = tuple(kind for kind in KINDS if kind not in WITHHELD_KINDS)
