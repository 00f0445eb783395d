"""AdamW over named parameter groups, and the schedule of their rates."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from qa_core.backbones.backbone import Backbone, Member
from qa_core.model.quality_model import QualityModel
from qa_core.settings.training import OptimConfig


def lr_factor(step: int, total_steps: int, steps_per_epoch: int, config: OptimConfig) -> float:
    """Factor in [0, 1] on every learning rate at a step counted from 0.

    Linear warm-up over the first share of the steps, then constant, linear or cosine decay to 0,
    or a drop by `step_lr_gamma` every `step_lr_step_size` epochs.
    """
    warmup = round(config.warmup_ratio * total_steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.scheduler == "constant":
        return 1.0
    if config.scheduler == "step":
        drops = (step // max(1, steps_per_epoch)) // config.step_lr_step_size
        return config.step_lr_gamma**drops
    passed = (step - warmup) / max(1, total_steps - warmup)
    if config.scheduler == "linear":
        return 1.0 - passed
    return 0.5 * (1 + math.cos(math.pi * passed))


def make_optimizer(
    model: QualityModel,
    config: OptimConfig,
    layer_decay: float = 1.0,
    decays_clip: bool = True,
) -> AdamW:
    """AdamW with CLIP at `lr` and the heads at `lr_head` (at `lr` where CLIP is frozen).

    Biases, norms, positions, a, b and the scales (tensors of fewer than two dimensions, and
    embeddings of positions and class) are not decayed.

    Args:
        model: What trains.
        config: Rates and decay.
        layer_decay: Factor on the rate from each group of a tower to the one below it.
        decays_clip: Whether CLIP's own weights decay towards 0.
    """
    assert config.lr is not None, "resolve the configuration first"
    head_lr = config.lr if config.lr_head is None else config.lr_head
    depth = depth_factors(model.backbone, layer_decay)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        of_clip = name.startswith("backbone.")
        lr = config.lr * depth[id(parameter)] if of_clip else head_lr
        undecayed = is_undecayed(name, parameter.ndim) or (of_clip and not decays_clip)
        decay = 0.0 if undecayed else config.weight_decay
        groups.setdefault((lr, decay), []).append(parameter)
    return AdamW(
        [
            {"params": parameters, "lr": lr, "initial_lr": lr, "weight_decay": decay}
            for (lr, decay), parameters in groups.items()
        ],
        fused=True,
    )


def depth_factors(backbone: Backbone, layer_decay: float) -> dict[int, float]:
    """Factor on the rate of each parameter of the backbone, by its id.

    1 at a tower's tail (final norm and projection), `layer_decay` at its last block, and so on
    down to the stem (Bao et al., "BEiT", ICLR 2022, appendix H).
    """
    towers: dict[str, list[Sequence[Member]]] = {}
    for name, members in backbone.groups().items():
        towers.setdefault(name.split(".")[0], []).append(members)
    return {
        id(parameter): layer_decay**steps_down
        for groups in towers.values()
        for steps_down, members in enumerate(reversed(groups))
        for member in members
        for parameter in ([member] if isinstance(member, nn.Parameter) else member.parameters())
    }


def is_undecayed(name: str, dimensions: int) -> bool:
    """Whether weight decay leaves a parameter of this name and number of dimensions alone."""
    return dimensions < 2 or name.endswith(("positional_embedding", "class_embedding"))


def set_lr(optimizer: AdamW, factor: float) -> None:
    """Set every group's rate to its initial rate times a factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


class StackedAdamW:
    """AdamW on parameters stacked along a first dimension, each member with its own settings.

    Gradients are clipped by each member's own norm. Each member's slices form a parameter group of
    their own: its values and moments then stay in the processor's cache for the whole step, which
    those of all members together would not fit.

    Args:
        parameters: Stacked parameters (members, ...) by name; changed in place.
        configs: The settings of each member; the rate is that of the heads of a linear probe.
    """

    def __init__(self, parameters: dict[str, Tensor], configs: Sequence[OptimConfig]):
        device = next(iter(parameters.values())).device
        norms = [config.max_grad_norm or math.inf for config in configs]
        self._max_norms = torch.tensor(norms, device=device)
        self._slices = [
            {name: value.detach()[member] for name, value in parameters.items()}
            for member in range(len(configs))
        ]
        self._optimizer = AdamW(
            [
                {
                    "params": of,
                    "lr": config.lr,
                    "initial_lr": config.lr,
                    "member": member,
                    "weight_decay": decay,
                }
                for member, (own, config) in enumerate(zip(self._slices, configs, strict=True))
                for decay, of in _by_decay(own, config.weight_decay).items()
            ],
            fused=True,
        )

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], factors: Sequence[float]) -> None:
        """One step by gradients (members, ...), every member's rate times its factor."""
        rows = [g[:, None] if g.ndim == 1 else g for g in gradients]
        norms = [torch.linalg.vector_norm(g, dim=tuple(range(1, g.ndim))) for g in rows]
        norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)
        clips = (self._max_norms / (norm + 1e-6)).clamp(max=1.0).tolist()
        for member, (own, clip) in enumerate(zip(self._slices, clips, strict=True)):
            for parameter, gradient in zip(own.values(), gradients, strict=True):
                parameter.grad = _laid_out_as(parameter, gradient[member])
                if clip < 1:
                    parameter.grad.mul_(clip)
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factors[group["member"]]
        self._optimizer.step()


def _by_decay(parameters: dict[str, Tensor], decay: float) -> dict[float, list[Tensor]]:
    """Parameters of one model by the decay that each has."""
    groups: dict[float, list[Tensor]] = {}
    for name, value in parameters.items():
        groups.setdefault(0.0 if is_undecayed(name, value.ndim) else decay, []).append(value)
    return groups


def _laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the parameter's order in memory, which the fused step takes for granted."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
