"""Does the batch size matter? The guide says: hardly, for residual learning.

Direct prediction stands beside it, for "hardly" means less than there.
"""

from collections.abc import Iterator

from qa_core.config import RunConfig
from qa_core.modes import BackboneSpec
from studies.designed.study_design import PlannedPoint, StudyDesign, guide_point

BATCH_SIZES = (8, 16, 32, 64, 128)


def _points(base: RunConfig, spec: BackboneSpec) -> Iterator[PlannedPoint]:
    for mode in ("residual", "traditional"):
        for size in BATCH_SIZES:
            yield guide_point(mode, base, spec, {"batch_size": size}, batch_size=size)


DESIGN = StudyDesign("batch_size", "Does the batch size matter?", _points)
