"""Which learning rate suits each mode? The rate that `--lr` names, two decades around the guide's.

The best rate is chosen on the tuning pool and shown on the test parts.
"""

from collections.abc import Iterator

from qa_core.arms import MODES
from qa_core.config import RunConfig
from qa_core.modes import BackboneSpec, mode_config
from studies.designed.study_design import PlannedPoint, StudyDesign, guide_point, rounded

FACTORS = (0.1, 1 / 3, 1, 3, 10)


def _points(base: RunConfig, spec: BackboneSpec) -> Iterator[PlannedPoint]:
    for mode in MODES:
        guide = mode_config(mode, base, spec).optim.lr
        assert guide is not None, "a mode's configuration is resolved"
        for factor in FACTORS:
            rate = rounded(guide * factor)
            yield guide_point(mode, base, spec, {"lr": rate}, lr=rate)


DESIGN = StudyDesign("lr", "Which learning rate suits each mode?", _points, uses_pool=True)
