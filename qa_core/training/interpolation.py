"""WiSE-FT: weights on the line from the pretrained to the fine-tuned ones.

Wortsman et al., "Robust fine-tuning of zero-shot models" (CVPR 2022), equation 2. Only CLIP's
weights, and the statistics of its batch norms, are interpolated: the heads have no pretrained end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from qa_core.model.quality_model import QualityModel

PERCENTS = tuple(range(0, 101, 10))
"""How far from the pretrained (0) to the fine-tuned weights (100) is tried, in per cent."""

Measures = dict[str, float]


@dataclass(frozen=True)
class Interpolation:
    """Measures along the line, and the point chosen on it.

    Attributes:
        curve: Measures by per cent of the way.
        percent: Where the selection metric is best; of equally good places the farthest.
    """

    curve: dict[int, Measures]
    percent: int

    @property
    def chosen(self) -> Measures:
        """Measures at the chosen place."""
        return self.curve[self.percent]


def interpolate(
    model: QualityModel, pretrained: Mapping[str, Tensor], measure: Callable[[], Measures]
) -> Interpolation:
    """Try the whole line and leave the model at the place that is best on validation.

    Args:
        model: The fine-tuned model; changed in place.
        pretrained: Weights of CLIP before training, by the backbone's names.
        measure: Measures of the model as it is, `selection` among them.
    """
    trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    ends = {
        name: (pretrained[name.removeprefix("backbone.")].clone(), parameter.detach().clone())
        for name, parameter in (*trained, *model.trained_statistics().items())
        if name.startswith("backbone.")
    }
    curve: dict[int, Measures] = {}
    for percent in PERCENTS:
        _move(model, ends, percent)
        curve[percent] = measure()
    best = max(PERCENTS, key=lambda percent: (curve[percent]["selection"], percent))
    _move(model, ends, best)
    return Interpolation(curve, best)


@torch.no_grad()
def _move(model: QualityModel, ends: dict[str, tuple[Tensor, Tensor]], percent: int) -> None:
    places = model.state_dict()
    for name, (start, end) in ends.items():
        # the fine-tuned weights themselves: interpolating would round them
        there = end if percent == 100 else start.to(end.device).lerp(end, percent / 100)
        places[name].copy_(there)
