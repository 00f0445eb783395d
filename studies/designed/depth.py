"""How many blocks to freeze? The guide says 70-80 % of them.

Depth 0 freezes nothing, the stem included, and is the residual mode; the last one freezes all
blocks and trains the final norms and projections. A depth that trains less takes a larger rate, so
each gets the best of three, chosen on the tuning pool.
"""

from collections.abc import Iterator

from qa_core.config import RunConfig, with_settings
from qa_core.modes import BackboneSpec, mode_config
from studies.designed.study_design import PlannedPoint, StudyDesign, rounded

STEPS = 8
RATE_FACTORS = (1, 1 / 3, 3)
"""Factors on the guide's rate; its own comes first, and stays where no other is better."""


def freeze_depths(image_depth: int) -> list[int]:
    """At most nine depths from 0 to all, evenly spread: 0, 2, 3, 4, 6, 8, 9, 10, 12 of 12."""
    return sorted({round(image_depth * step / STEPS) for step in range(STEPS + 1)})


def _points(base: RunConfig, spec: BackboneSpec) -> Iterator[PlannedPoint]:
    whole = mode_config("residual", base, spec)
    partial = mode_config("residual_partial_freeze", base, spec)
    for depth in freeze_depths(spec.image_depth):
        at_depth = with_settings(partial, freeze_layers=depth) if depth else whole
        rates = [rounded(spec.rates["partial"].guide * factor) for factor in RATE_FACTORS]
        candidates = tuple(with_settings(at_depth, lr=rate) for rate in rates)
        yield PlannedPoint("residual_partial_freeze", {"freeze_layers": depth}, candidates)


DESIGN = StudyDesign("depth", "How many blocks should be frozen?", _points, uses_pool=True)
