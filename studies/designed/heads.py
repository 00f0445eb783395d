"""How far do head settings alone carry a frozen CLIP? Rate and scale over a whole grid.

64 linear probes train as one computation on each fold of the tuning pool; the best of them stands
against the guide's setting on the test parts.
"""

from collections.abc import Iterator
from itertools import product

from qa_core.config import RunConfig, with_settings
from qa_core.modes import BackboneSpec, mode_config
from studies.designed.study_design import PlannedPoint, StudyDesign, rounded, scales

RATE_FACTORS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
SCALES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


def _points(base: RunConfig, spec: BackboneSpec) -> Iterator[PlannedPoint]:
    guide = mode_config("linear_probe", base, spec)
    assert guide.optim.lr is not None, "a mode's configuration is resolved"
    rates = [rounded(guide.optim.lr * factor) for factor in RATE_FACTORS]
    grid = [with_settings(guide, lr=r, **scales(s)) for r, s in product(rates, SCALES)]
    candidates = sorted(grid, key=lambda config: config != guide)  # the guide's stays in a tie
    yield PlannedPoint("linear_probe", {"variant": "guide"}, (guide,))
    yield PlannedPoint(
        "linear_probe", {"variant": f"best of {len(grid)} on the pool"}, tuple(candidates)
    )


DESIGN = StudyDesign("heads", "How far do head settings alone carry?", _points, stacked=True)
