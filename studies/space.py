"""The settings that tuning may change in a mode (its knobs), and their ranges."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from qa_core.arms import CONTROLS, MODES, find_mode
from qa_core.config import RunConfig, with_settings
from qa_core.modes import (
    BackboneSpec,
    freezing,
    mode_config,
    prefix_blocks,
    recommended_rates,
)
from qa_core.targets import TARGETS, Target

SCALE_RANGE = (0.05, 0.5)
"""Above 0.5 a correction can override the base, which defeats the purpose of bounding it."""
DECADE = 10
"""A knob that spans a decade or more is searched on a log scale, as whole numbers are."""


@dataclass(frozen=True)
class ModeSpace:
    """The knobs of one mode or arm.

    Attributes:
        mode: Its name.
        guide: The resolved configuration of the guide's setting.
        distributions: Range of each knob by flag name.
    """

    mode: str
    guide: RunConfig
    distributions: dict[str, BaseDistribution]

    @property
    def guide_values(self) -> dict[str, Any]:
        """The guide's value of each knob."""
        flat = self.guide.flat()
        return {name: flat[name] for name in self.distributions}

    def depths(self) -> list[RunConfig]:
        """The guide's setting at every freeze depth that the search may try."""
        if "freeze_layers" not in self.distributions:
            return [self.guide]
        span: Any = self.distributions["freeze_layers"]
        return [with_settings(self.guide, freeze_layers=n) for n in range(span.low, span.high + 1)]

    def config(self, values: dict[str, Any]) -> RunConfig:
        """The mode's configuration with its knobs at these values."""
        return with_settings(self.guide, **values)


def all_spaces(
    arms: Sequence[str],
    base: RunConfig,
    spec: BackboneSpec,
    targets: Sequence[Target] = tuple(TARGETS),
) -> dict[str, ModeSpace]:
    """The knobs of the modes, their controls and further arms, by name."""
    return {name: mode_space(name, base, spec, targets) for name in (*MODES, *CONTROLS, *arms)}


def mode_space(
    name: str, base: RunConfig, spec: BackboneSpec, targets: Sequence[Target] = tuple(TARGETS)
) -> ModeSpace:
    """The knobs that a mode or arm has: those of its configuration, and those of its record.

    Freeze depth goes from 1 to depth - 1 (none and all are other modes), the scale of each target
    that is rated over `SCALE_RANGE`, the learning rate, on a log scale, over the range recommended
    for mode and backbone.
    """
    guide, record = mode_config(name, base, spec), find_mode(name)
    assert record is not None, "it has a configuration"
    own = {knob: _range(low, high) for knob, (low, high) in record.knobs.items()}
    return ModeSpace(name, guide, _ranges(guide, spec, targets) | own)


def _range(low: float, high: float) -> BaseDistribution:
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=True)
    return FloatDistribution(low, high, log=high >= DECADE * low)


def _ranges(
    guide: RunConfig, spec: BackboneSpec, targets: Sequence[Target]
) -> dict[str, BaseDistribution]:
    """What tuning may change in every configuration of this kind."""
    ranges: dict[str, BaseDistribution] = {}
    if freezing(guide) == "partial":
        ranges["freeze_layers"] = IntDistribution(1, spec.image_depth - 1)
    if guide.head.residual_learning:
        ranges |= {target.scale: FloatDistribution(*SCALE_RANGE) for target in targets}
    rates = recommended_rates(guide, spec)
    ranges["lr"] = FloatDistribution(rates.low, rates.high, log=True)
    return ranges


def expected_cost(config: RunConfig, spec: BackboneSpec, n_images: int) -> float:
    """Expected effort of a run, in images trained through a whole unfrozen model.

    Coarse: blocks that train cost their share, heads alone a twentieth. It decides only which jobs
    start first and how much time is said to be left.
    """
    share = 1 - prefix_blocks(config, spec.image_depth) / spec.image_depth
    return config.passes * n_images * (0.05 + 0.95 * share)
