"""What a designed study consists of, as tags of its run: its points, and the cells of each."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from qa_core.records.schema import Param


@dataclass(frozen=True)
class StudyPoint:
    """A point of a study as it was run: what it varies, and its cells.

    Attributes:
        mode: The mode or arm whose curve it belongs to.
        knobs: What the study varies, by name; numbers or words.
        train_share: Share of each split's training prompts that it trains on.
        lr: Learning rate, where the tuning pool chose it the chosen one.
        pool: Mean selection metric on the tuning pool, or None where it was not run there.
        cells: Identities of its runs by split.
        grid: Rate, scale and score on the pool of every candidate, where they trained together;
            the score of one that diverged is None.
    """

    mode: str
    knobs: dict[str, Any]
    train_share: float
    lr: float
    pool: float | None
    cells: tuple[str, ...]
    grid: tuple[tuple[float, float, float | None], ...] = ()

    def to_tag(self) -> str:
        """The point as a tag's value."""
        return json.dumps({k: v for k, v in asdict(self).items() if k != "grid" or v})

    @classmethod
    def from_tag(cls, text: str) -> "StudyPoint":
        """The point that `to_tag` wrote."""
        content = json.loads(text)
        grid = tuple((rate, scale, score) for rate, scale, score in content.pop("grid", ()))
        return cls(**content | {"cells": tuple(content["cells"]), "grid": grid})


@dataclass(frozen=True)
class StudyListing:
    """What a study consists of, as its run lists it; a later command may replace the list.

    Attributes:
        n_splits: Splits that it uses.
        epochs: Epochs of each cell.
        variance_factor: Nadeau-Bengio factor of so many splits.
        points: Its points.
    """

    n_splits: int
    epochs: int
    variance_factor: float
    points: tuple[StudyPoint, ...]

    def to_tags(self) -> dict[str, str]:
        """The listing as tags: its numbers, and `point.000` onwards."""
        numbers = {name: str(getattr(self, name)) for name in _LISTED}
        points = {f"{_POINT}{k:03d}": point.to_tag() for k, point in enumerate(self.points)}
        return numbers | points

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "StudyListing | None":
        """The listing among a run's tags; None before its points are known."""
        if not all(name in tags for name in _LISTED):
            return None
        return cls(
            n_splits=int(tags[Param.N_SPLITS]),
            epochs=int(tags[Param.EPOCHS]),
            variance_factor=float(tags[Param.VARIANCE_FACTOR]),
            points=tuple(
                StudyPoint.from_tag(tags[name]) for name in sorted(tags) if name.startswith(_POINT)
            ),
        )


_LISTED = (Param.N_SPLITS, Param.EPOCHS, Param.VARIANCE_FACTOR)
_POINT = "point."
