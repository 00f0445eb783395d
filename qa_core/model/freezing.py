"""Which named groups of a backbone train."""

from dataclasses import dataclass

from torch import nn

from qa_core.backbones.backbone import Backbone
from qa_core.backbones.tower import EMBEDDED, FROM_RAW, TowerEntry
from qa_core.config import RunConfig
from qa_core.modes import freezing


@dataclass(frozen=True)
class FreezePlan:
    """The groups of a backbone that do not train, and where the frozen prefix of each tower ends.

    Attributes:
        frozen: Names of frozen groups, as in `Backbone.groups`.
        entry: The end of each tower's frozen prefix: the highest place where a batch may enter.
    """

    frozen: frozenset[str]
    entry: TowerEntry

    @property
    def towers_frozen(self) -> bool:
        """Whether nothing of CLIP trains, tails included."""
        return self.entry == EMBEDDED


def plan_freezing(config: RunConfig, backbone: Backbone) -> FreezePlan:
    """The freeze plan of a resolved configuration.

    `freeze_layers` = N freezes the stem and the first N blocks of each tower, N = 0 nothing;
    `freeze_clip` freezes all. `logit_scale` never trains.
    """
    everything = frozenset(backbone.groups())
    if freezing(config) == "all":
        return FreezePlan(everything, EMBEDDED)
    layers = config.freeze.freeze_layers if freezing(config) == "partial" else 0
    if not layers:
        return FreezePlan(frozenset({"logits"}), FROM_RAW)
    image, text = min(layers, backbone.image.depth), min(layers, backbone.text.depth)
    frozen = {"logits", "image.stem", "text.stem"}
    frozen |= {f"image.blocks.{i}" for i in range(image)}
    frozen |= {f"text.blocks.{i}" for i in range(text)}
    return FreezePlan(frozenset(frozen), TowerEntry(image, text))


def apply_freezing(backbone: Backbone, plan: FreezePlan) -> None:
    """Set `requires_grad` of every parameter, and eval mode of frozen modules; idempotent."""
    for name, members in backbone.groups().items():
        trains = name not in plan.frozen
        for member in members:
            member.requires_grad_(trains)
    for constant in backbone.fixed:
        constant.requires_grad_(False)
    set_frozen_eval(backbone, plan)


def set_frozen_eval(backbone: Backbone, plan: FreezePlan) -> None:
    """Put frozen modules in eval mode: no dropout, no patch dropout, fixed batch statistics."""
    for name, members in backbone.groups().items():
        if name in plan.frozen:
            for member in members:
                if isinstance(member, nn.Module):
                    member.eval()


def count_parameters(module: nn.Module, trainable_only: bool = False) -> int:
    """Number of parameters, `logit_scale` and `logit_bias` left out."""
    return sum(
        parameter.numel()
        for name, parameter in module.named_parameters()
        if name.rsplit(".", 1)[-1] not in ("logit_scale", "logit_bias")
        and (parameter.requires_grad or not trainable_only)
    )
