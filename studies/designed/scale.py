"""How large may the correction be? Both scales together, from .05 to the whole range.

SROCC against scale says what a bound costs or earns; saturation and clamping say whether it binds
and where gradients die.
"""

from collections.abc import Iterator

from qa_core.arms import MODES
from qa_core.config import RunConfig
from qa_core.modes import BackboneSpec, mode_config
from studies.designed.study_design import PlannedPoint, StudyDesign, guide_point, scales

SCALES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def _points(base: RunConfig, spec: BackboneSpec) -> Iterator[PlannedPoint]:
    corrected = [m for m in MODES if mode_config(m, base, spec).head.residual_learning]
    for mode in corrected:
        for scale in SCALES:
            yield guide_point(mode, base, spec, {"residual_scale": scale}, **scales(scale))


DESIGN = StudyDesign("scale", "How large may the correction be?", _points)
