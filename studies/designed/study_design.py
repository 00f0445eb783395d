"""What a designed study is: a question, and the points of its curve."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from qa_core.config import RunConfig, with_settings
from qa_core.modes import BackboneSpec, mode_config
from qa_core.records.schema import StudyName


@dataclass(frozen=True)
class PlannedPoint:
    """One point of a study's curve, run on every split.

    Attributes:
        mode: The mode or arm whose curve it belongs to.
        knobs: What the study varies, by name; numbers or words.
        candidates: Resolved configurations of which the tuning pool chooses one; the first where
            there is no pool.
        train_share: Share of each split's training prompts that it trains on; above 1
            with the reserve that replicates of the embedded benchmark have.
    """

    mode: str
    knobs: dict[str, Any]
    candidates: tuple[RunConfig, ...]
    train_share: float = 1.0


@dataclass(frozen=True)
class StudyDesign:
    """A study whose cells are fixed beforehand.

    Attributes:
        name: Its name on the command line.
        question: What it asks.
        points: Its points, from the configuration that all modes share and the backbone.
        uses_pool: Whether its points are scored on the tuning pool too.
        stacked: Whether the candidates of a point, linear probes, train together on the pool.
    """

    name: StudyName
    question: str
    points: Callable[[RunConfig, BackboneSpec], Iterable[PlannedPoint]]
    uses_pool: bool = False
    stacked: bool = False


def guide_point(
    mode: str,
    base: RunConfig,
    spec: BackboneSpec,
    knobs: dict[str, Any],
    train_share: float = 1.0,
    **settings: Any,
) -> PlannedPoint:
    """A point at the guide's setting of a mode, but for these settings."""
    config = with_settings(mode_config(mode, base, spec), **settings)
    return PlannedPoint(mode, knobs, (config,), train_share)


def scales(value: float) -> dict[str, float]:
    """Both residual scales at one value, as settings."""
    return {"residual_scale_q": value, "residual_scale_c": value}


def rounded(rate: float) -> float:
    """A learning rate of two digits, the same on every machine."""
    return float(f"{rate:.1e}")
