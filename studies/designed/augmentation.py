"""What do random crops and flips earn? Every mode with and without them, at the guide's setting.

The crops are drawn once and kept: modes see the same ones, and frozen layers meet each once.
"""

from collections.abc import Iterator
from typing import get_args

from qa_core.arms import MODES
from qa_core.config import RunConfig
from qa_core.modes import BackboneSpec
from qa_core.settings.training import Augmentation
from studies.designed.study_design import PlannedPoint, StudyDesign, guide_point


def _points(base: RunConfig, spec: BackboneSpec) -> Iterator[PlannedPoint]:
    for mode in MODES:
        for augment in get_args(Augmentation):
            yield guide_point(mode, base, spec, {"augment": augment}, augment=augment)


DESIGN = StudyDesign("augmentation", "What do random crops and flips earn?", _points)
