"""What do the details of each mode earn? One detail changed at a time, against the guide's setting.

The scale may be learnt or grow; the base may start from the data (`fit`: how much of the saturation
is miscalibration); the heads may share CLIP's rate; the fusion head may read the product of the
embeddings as well.
"""

from collections.abc import Iterator
from typing import Any

from qa_core.arms import MODES
from qa_core.config import RunConfig
from qa_core.modes import BackboneSpec, freezing, mode_config
from studies.designed.study_design import PlannedPoint, StudyDesign, guide_point

GUIDE = "guide"
OF_THE_CORRECTION: dict[str, dict[str, Any]] = {
    "learnable scale": {"scale_schedule": "learnable"},
    "curriculum scale": {"scale_schedule": "curriculum"},
    "fitted base": {"base_init": "fit"},
}


def _variants(config: RunConfig) -> dict[str, dict[str, Any]]:
    """The settings of each variant that this mode can have."""
    variants: dict[str, dict[str, Any]] = {GUIDE: {}}
    if config.head.residual_learning:
        variants |= OF_THE_CORRECTION
    if freezing(config) != "all":
        variants["single rate"] = {"lr_head": config.optim.lr}
    return variants | {"fusion reads product": {"fusion_inputs": ("img", "txt", "cos", "product")}}


def _points(base: RunConfig, spec: BackboneSpec) -> Iterator[PlannedPoint]:
    for mode in MODES:
        for name, settings in _variants(mode_config(mode, base, spec)).items():
            yield guide_point(mode, base, spec, {"variant": name}, **settings)


DESIGN = StudyDesign("variants", "What do the details of each mode earn?", _points)
