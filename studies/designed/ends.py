"""From which end, and of which tower, should blocks be frozen?

The guide freezes the first blocks of both towers. Beside that: the last blocks instead (Lee et al.,
"Surgical Fine-Tuning Improves Adaptation to Distribution Shifts", ICLR 2023, find the first ones
the right ones to tune where inputs change at pixel level), and the first blocks of one tower alone,
the other training. Each point gets the best of three rates, chosen on the tuning pool.
"""

from collections.abc import Iterator
from typing import Any

from qa_core.config import RunConfig, with_settings
from qa_core.modes import BackboneSpec, mode_config
from studies.designed.depth import RATE_FACTORS
from studies.designed.study_design import PlannedPoint, StudyDesign, rounded

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of a tower's blocks that are frozen."""
NOTHING = "nothing"


def _ways(image: int, text: int) -> dict[str, dict[str, Any]]:
    """Settings that freeze so many blocks of the towers, by what is frozen."""
    return {
        "first blocks": {"freeze_layers": image},
        "last blocks": {"freeze_layers": image, "freeze_from": "top"},
        "image tower": {"freeze_image_layers": image, "freeze_text_layers": 0},
        "text tower": {"freeze_image_layers": 0, "freeze_text_layers": text},
    }


def _points(base: RunConfig, spec: BackboneSpec) -> Iterator[PlannedPoint]:
    partial = mode_config("residual_partial_freeze", base, spec)
    yield _point(mode_config("residual", base, spec), spec, NOTHING, 0.0)
    for share in SHARES:
        image, text = round(share * spec.image_depth), round(share * spec.text_depth)
        for way, settings in _ways(image, text).items():
            yield _point(with_settings(partial, **settings), spec, way, share)


def _point(config: RunConfig, spec: BackboneSpec, way: str, share: float) -> PlannedPoint:
    rates = [rounded(spec.rates["partial"].guide * factor) for factor in RATE_FACTORS]
    candidates = tuple(with_settings(config, lr=rate) for rate in rates)
    knobs = {"frozen": way, "frozen_share": share}
    return PlannedPoint("residual_partial_freeze", knobs, candidates)


DESIGN = StudyDesign(
    "ends", "From which end, and of which tower, should blocks be frozen?", _points, uses_pool=True
)
