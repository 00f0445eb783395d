"""Freezing: which parameters train, eval mode below, and idempotence."""

from typing import Any

import pytest
import torch

from qa_core.backbones.backbone import Backbone, load_backbone
from qa_core.backbones.tower import EMBEDDED, TowerEntry
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.model.freezing import apply_freezing, count_parameters, plan_freezing
from qa_core.model.quality_model import QualityModel
from qa_core.modes import resolve
from qa_core.settings.model import BackboneConfig


@pytest.fixture
def narrow(narrow_models: None) -> Backbone:
    return load_backbone(BackboneConfig("narrow-3", "none"))


def config(backbone: Backbone, **flags: Any) -> RunConfig:
    return resolve(run_config_from_flat({"backbone": "narrow-3"} | flags), backbone.spec)


def trainable(backbone: Backbone) -> set[str]:
    return {name for name, p in backbone.clip.named_parameters() if p.requires_grad}


def test_nothing_frozen_trains_all_but_the_logit_scale(narrow: Backbone) -> None:
    apply_freezing(narrow, plan_freezing(config(narrow), narrow))
    everything = {name for name, _ in narrow.clip.named_parameters()}
    assert everything - trainable(narrow) == {"logit_scale"}
    zero = config(narrow, partial_freeze=True, freeze_layers=0)
    apply_freezing(narrow, plan_freezing(zero, narrow))
    assert everything - trainable(narrow) == {"logit_scale"}


def test_partial_freeze_leaves_upper_blocks_norms_and_projections(narrow: Backbone) -> None:
    plan = plan_freezing(config(narrow, partial_freeze=True, freeze_layers=2), narrow)
    apply_freezing(narrow, plan)
    names = trainable(narrow)
    assert {n.split(".")[3] for n in names if n.startswith("visual.transformer.resblocks")} == {"2"}
    assert not any(
        n.startswith("transformer.resblocks") for n in names
    )  # 2 text blocks, all frozen
    assert {"visual.proj", "visual.ln_post.weight", "ln_final.weight", "text_projection"} <= names
    assert not {"visual.conv1.weight", "visual.class_embedding", "positional_embedding"} & names
    assert plan.entry == TowerEntry(image=2, text=2)


def test_applying_twice_or_another_plan_is_the_last_plan(narrow: Backbone) -> None:
    probe = plan_freezing(config(narrow, freeze_clip=True), narrow)
    full = plan_freezing(config(narrow), narrow)
    apply_freezing(narrow, full)
    before = trainable(narrow)
    for plan in (probe, probe, full, full):
        apply_freezing(narrow, plan)
    assert trainable(narrow) == before
    apply_freezing(narrow, probe)
    assert not trainable(narrow)
    assert probe.entry == EMBEDDED and probe.towers_frozen


def test_frozen_groups_stay_in_eval_mode_while_training(narrow: Backbone) -> None:
    model = QualityModel(narrow, config(narrow, partial_freeze=True, freeze_layers=2)).train()
    visual = narrow.clip.visual
    assert not visual.patch_dropout.training and not visual.transformer.resblocks[1].training
    assert visual.transformer.resblocks[2].training and visual.ln_post.training
    assert model.heads.training
    full = QualityModel(narrow, config(narrow)).train()
    assert visual.patch_dropout.training and full.heads.training


def test_parameter_counts(narrow: Backbone) -> None:
    model = QualityModel(narrow, config(narrow, freeze_clip=True))
    heads = sum(p.numel() for p in model.heads.parameters())
    assert count_parameters(model, trainable_only=True) == heads
    towers = sum(p.numel() for n, p in narrow.clip.named_parameters() if n != "logit_scale")
    assert count_parameters(model) == heads + towers


def test_a_step_changes_only_what_trains(narrow: Backbone) -> None:
    model = QualityModel(narrow, config(narrow, partial_freeze=True, freeze_layers=2)).train()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    torch.manual_seed(0)
    ids = narrow.tokenize(["a thing", "another"])
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    img, txt = narrow.encode_images(images), narrow.encode_texts(ids)
    out = model.score(img, txt, torch.arange(2))
    (out.q.sum() + out.c.sum()).backward()
    for parameter in model.parameters():
        if parameter.grad is not None:
            assert parameter.requires_grad
            parameter.data -= 0.1 * parameter.grad
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed
    assert changed <= {n for n, p in model.named_parameters() if p.requires_grad}
    assert any(n.startswith("backbone.clip.visual.transformer.resblocks.2") for n in changed)
