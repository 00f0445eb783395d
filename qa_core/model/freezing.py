"""Which named groups of a backbone train."""

from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from qa_core.backbones.backbone import Backbone
from qa_core.backbones.tower import EMBEDDED, EMBEDDING, RAW, Boundary, TowerEntry
from qa_core.config import RunConfig
from qa_core.modes import TowerName, freezing, frozen_blocks, prefix_blocks


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

    `freeze_layers` = N freezes the stem and the first N blocks of each tower, or from the top the
    last N and the tail, N = 0 nothing; `freeze_clip` freezes all, `train_only` a whole tower, or
    what is below both tails. `logit_scale` never trains.
    """
    image, image_at = _frozen_of_tower(config, "image", backbone.image.depth)
    text, text_at = _frozen_of_tower(config, "text", backbone.text.depth)
    return FreezePlan(frozenset({"logits"} | image | text), TowerEntry(image_at, text_at))


def _frozen_of_tower(config: RunConfig, tower: TowerName, depth: int) -> tuple[set[str], Boundary]:
    """Frozen groups of a tower, and the end of its frozen prefix."""
    stem, tail = f"{tower}.stem", f"{tower}.tail"
    blocks = [f"{tower}.blocks.{number}" for number in range(depth)]
    other = {"image": "text", "text": "image"}[tower]
    if freezing(config) == "all" or config.freeze.train_only == other:
        return {stem, *blocks, tail}, EMBEDDING
    count = frozen_blocks(config, depth, tower)
    if not count:
        return set(), RAW
    if not prefix_blocks(config, depth, tower):
        return {*blocks[depth - count :], tail}, RAW
    return {stem, *blocks[:count]}, count


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
    """Put frozen modules in eval mode: no dropout, no patch dropout, fixed batch statistics.

    So are the statistics of batch norms whose own parameters do not train.
    """
    for name, members in backbone.groups().items():
        if name in plan.frozen:
            for member in members:
                if isinstance(member, nn.Module):
                    member.eval()
    for module in backbone.modules():
        held = not any(p.requires_grad for p in module.parameters(recurse=False))
        if isinstance(module, _BatchNorm) and held:
            module.eval()


def has_batch_norms(backbone: Backbone) -> bool:
    """Whether a backbone has running statistics."""
    return any(isinstance(module, _BatchNorm) for module in backbone.modules())


def count_parameters(module: nn.Module, trainable_only: bool = False) -> int:
    """Number of parameters, `logit_scale` and `logit_bias` left out."""
    return sum(
        parameter.numel()
        for name, parameter in module.named_parameters()
        if name.rsplit(".", 1)[-1] not in ("logit_scale", "logit_bias")
        and (parameter.requires_grad or not trainable_only)
    )
