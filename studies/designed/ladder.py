"""How much of CLIP may training touch? Every rung from the frozen probe to full fine-tuning.

A rung is a mode or arm that is the residual mode but for what of CLIP trains, or how far it may go:
heads and scales stay as they are. What trains less takes a larger rate, so each rung gets the best
of three, chosen on the tuning pool.
"""

from collections.abc import Iterator
from dataclasses import fields

from qa_core.arms import ARMS, MODES, flags_of
from qa_core.config import RunConfig, with_settings
from qa_core.modes import BackboneSpec, mode_config, recommended_rates
from qa_core.settings.model import FreezeConfig
from qa_core.settings.training import KeepConfig
from studies.designed.depth import RATE_FACTORS
from studies.designed.study_design import PlannedPoint, StudyDesign, rounded

_OF_CLIP = {one.name for part in (FreezeConfig, KeepConfig) for one in fields(part)}


def rungs() -> list[str]:
    """Modes and arms whose flags are all about what of CLIP trains."""
    return [name for name in (*MODES, *ARMS) if flags_of(name).keys() <= _OF_CLIP]


def _points(base: RunConfig, spec: BackboneSpec) -> Iterator[PlannedPoint]:
    for name in rungs():
        own = mode_config(name, base, spec)
        guide = recommended_rates(own, spec).guide
        others = [rounded(guide * factor) for factor in RATE_FACTORS if factor != 1]
        candidates = (own, *(with_settings(own, lr=rate) for rate in others))
        yield PlannedPoint(name, {"rung": name}, candidates)


DESIGN = StudyDesign("ladder", "How much of CLIP may training touch?", _points, uses_pool=True)
