"""Who profits from more data, and which scale suits how much of it?

Shares of each split's training prompts, nested, for every mode; and at the smallest and the whole
share several scales, in the mode of the guide's recipes. Shares above 1 are left out where splits
have no reserve. Epochs stay the same, so a smaller share also means fewer steps.
"""

from collections.abc import Iterator

from qa_core.arms import MODES
from qa_core.config import RunConfig
from qa_core.modes import BackboneSpec
from studies.designed.study_design import PlannedPoint, StudyDesign, guide_point, scales

SHARES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
WHOLE = 1.0
SCALES = (0.05, 0.1, 0.2, 0.3, 0.5)
RECIPE_MODE = "residual_partial_freeze"


def _points(base: RunConfig, spec: BackboneSpec) -> Iterator[PlannedPoint]:
    for mode in MODES:
        for share in SHARES:
            yield guide_point(mode, base, spec, {"train_share": share}, share)
    for share in (SHARES[0], WHOLE):
        for scale in SCALES:
            knobs = {"train_share": share, "residual_scale": scale}
            yield guide_point(RECIPE_MODE, base, spec, knobs, share, **scales(scale))


DESIGN = StudyDesign("data_size", "Who profits from more data, and at which scale?", _points)
