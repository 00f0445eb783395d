"""AdamW over named parameter groups, and the schedule of their rates."""

import math

from torch import nn
from torch.optim import AdamW

from qa_core.config import OptimConfig
from qa_core.model import QualityModel


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


def make_optimizer(model: QualityModel, config: OptimConfig) -> AdamW:
    """AdamW with CLIP at `lr` and the heads at `lr_head` (at `lr` where CLIP is frozen).

    Biases, norms, positions, a, b and the scales (tensors of fewer than two dimensions, and
    embeddings of positions and class) are not decayed.
    """
    assert config.lr is not None, "resolve the configuration first"
    head_lr = config.lr if config.lr_head is None else config.lr_head
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        lr = config.lr if name.startswith("backbone.") else head_lr
        decay = 0.0 if _is_undecayed(name, parameter) else config.weight_decay
        groups.setdefault((lr, decay), []).append(parameter)
    return AdamW(
        [
            {"params": parameters, "lr": lr, "initial_lr": lr, "weight_decay": decay}
            for (lr, decay), parameters in groups.items()
        ],
        fused=True,
    )


def _is_undecayed(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim < 2 or name.endswith(("positional_embedding", "class_embedding"))


def set_lr(optimizer: AdamW, factor: float) -> None:
    """Set every group's rate to its initial rate times a factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
