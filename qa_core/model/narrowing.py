"""What trains of the groups that are not frozen: all of them, or the part that an arm trains."""

from collections.abc import Iterable, Iterator

from timm.layers.norm import RmsNorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from qa_core.backbones.backbone import Backbone
from qa_core.backbones.tower import Member
from qa_core.config import RunConfig
from qa_core.errors import UserError
from qa_core.model.adapter import add_adapters
from qa_core.model.freezing import FreezePlan
from qa_core.model.lora import add_low_rank_changes

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, RmsNorm, _BatchNorm)


def narrow_training(backbone: Backbone, plan: FreezePlan, config: RunConfig) -> None:
    """Narrow what trains, after `apply_freezing`, to what the configuration names.

    Raises:
        UserError: A tower has no such part.
    """
    keep, part = config.keep, config.freeze.train_only
    if keep.lora_rank:
        backbone.requires_grad_(False)
        for tower in ("image", "text"):
            add_low_rank_changes(_blocks(backbone, plan, tower), keep.lora_rank)
    elif keep.adapter_reduction:
        _train_only(backbone, norms(backbone))
        for tower in ("image", "text"):
            blocks = _blocks(backbone, plan, tower)
            if blocks and not add_adapters(blocks, keep.adapter_reduction):
                raise UserError(
                    f"--adapter_reduction puts adapters into transformer blocks, and the {tower}"
                    f" tower of {config.clip.backbone} has none."
                )
    elif part == "bias_norm":
        _train_only(backbone, biases_and_norms(backbone))
    elif part == "projection":
        _train_only(backbone, _projections(backbone, config.clip.backbone))


def norms(module: nn.Module) -> Iterator[nn.Parameter]:
    """All parameters of norms."""
    for owner in module.modules():
        if isinstance(owner, NORMS):
            yield from owner.parameters(recurse=False)


def biases_and_norms(module: nn.Module) -> Iterator[nn.Parameter]:
    """All biases, and all parameters of norms.

    Ben Zaken et al., "BitFit" (ACL 2022), trains the biases, those of the norms among them; Li et
    al., "CLIPFit" (EMNLP 2024, arXiv 2409.16718), biases and layer norms of CLIP.
    """
    yield from norms(module)
    yield from (p for name, p in module.named_parameters() if name.endswith("bias"))


def _projections(backbone: Backbone, name: str) -> Iterator[nn.Parameter]:
    towers: dict[str, list[Member]] = {
        "image": backbone.image.projection(),
        "text": backbone.text.projection(),
    }
    for tower, members in towers.items():
        if not members:
            raise UserError(
                f"--train_only projection has nothing to train in the {tower} tower of {name}: its"
                " pooling gives the embedding, without a projection."
            )
        for member in members:
            yield from [member] if isinstance(member, nn.Parameter) else member.parameters()


def _train_only(backbone: Backbone, chosen: Iterable[nn.Parameter]) -> None:
    """Freeze all but those of these parameters that train now."""
    kept = [parameter for parameter in chosen if parameter.requires_grad]
    backbone.requires_grad_(False)
    for parameter in kept:
        parameter.requires_grad_(True)


def _blocks(backbone: Backbone, plan: FreezePlan, tower: str) -> list[nn.Module]:
    """The blocks of a tower that are not frozen."""
    return [
        member
        for name, members in backbone.groups().items()
        if name.startswith(f"{tower}.blocks.") and name not in plan.frozen
        for member in members
        if isinstance(member, nn.Module)
    ]
