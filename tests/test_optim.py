"""Schedules as pure functions, and which parameters get which rate."""

import math
from typing import Any

import pytest

from qa_core.backbones.backbone import load_backbone
from qa_core.config import run_config_from_flat
from qa_core.model.quality_model import QualityModel
from qa_core.modes import resolve
from qa_core.settings.model import BackboneConfig
from qa_core.settings.training import OptimConfig
from qa_core.training.optim import lr_factor, make_optimizer, set_lr


def factors(total: int = 100, per_epoch: int = 10, **flags: Any) -> list[float]:
    config = OptimConfig(**flags)
    return [lr_factor(step, total, per_epoch, config) for step in range(total)]


@pytest.mark.parametrize("scheduler", ["cosine", "linear", "constant", "step"])
def test_warm_up_rises_to_the_full_rate_and_never_above(scheduler: str) -> None:
    values = factors(scheduler=scheduler, warmup_ratio=0.1)
    assert values[0] == pytest.approx(1 / 11)
    assert values[10] == pytest.approx(1.0)
    assert all(0 < value <= 1 for value in values)


def test_decay_by_their_formulas() -> None:
    cosine = factors(scheduler="cosine", warmup_ratio=0.0)
    assert cosine[25] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.25)))
    assert factors(scheduler="linear", warmup_ratio=0.0)[25] == pytest.approx(0.75)
    step = factors(scheduler="step", warmup_ratio=0.0, step_lr_step_size=4, step_lr_gamma=0.1)
    assert [step[39], step[40], step[80]] == pytest.approx([1.0, 0.1, 0.01])
    assert set(factors(scheduler="constant", warmup_ratio=0.0)) == {1.0}


def test_rates_and_decay_by_group(narrow_models: None) -> None:
    backbone = load_backbone(BackboneConfig("narrow-3", "none"))
    flags = {"backbone": "narrow-3", "lr": 1e-4, "lr_head": 1e-2, "weight_decay": 0.1}
    config = resolve(run_config_from_flat(flags), backbone.spec)
    model = QualityModel(backbone, config)
    optimizer = make_optimizer(model, config.optim)
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            found[id(parameter)] = (group["lr"], group["weight_decay"])
    named = dict(model.named_parameters())
    heads: dict[str, tuple[float, float]] = {
        "heads.q_base_head.weight": (1e-2, 0.1),
        "heads.q_base_head.bias": (1e-2, 0.0),
        "heads.c_base_scale.a": (1e-2, 0.0),
    }
    towers = {
        "backbone.clip.visual.proj": (1e-4, 0.1),
        "backbone.clip.visual.positional_embedding": (1e-4, 0.0),
        "backbone.clip.visual.ln_post.weight": (1e-4, 0.0),
    }
    for name, expected in (heads | towers).items():
        assert found[id(named[name])] == expected, name
    assert id(named["backbone.clip.logit_scale"]) not in found
    set_lr(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {5e-5, 5e-3}


def test_a_probe_trains_its_heads_at_lr(narrow_models: None) -> None:
    backbone = load_backbone(BackboneConfig("narrow-3", "none"))
    flags = {"backbone": "narrow-3", "freeze_clip": True, "lr": 2e-3}
    config = resolve(run_config_from_flat(flags), backbone.spec)
    optimizer = make_optimizer(QualityModel(backbone, config), config.optim)
    assert {group["lr"] for group in optimizer.param_groups} == {2e-3}
