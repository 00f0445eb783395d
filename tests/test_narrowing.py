"""What trains under each arm, on towers of every kind, and that a checkpoint holds all of it."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch import nn
from torch.nn.functional import gelu

from qa_core.arms import ARMS, flags_of
from qa_core.backbones.backbone import Backbone, load_backbone
from qa_core.backbones.blueprint import find_blueprint
from qa_core.backbones.tower import EMBEDDING, RAW, TowerEntry
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.errors import UserError
from qa_core.features.activations import activations, image_inputs, text_inputs
from qa_core.model.adapter import Adapter
from qa_core.model.freezing import count_parameters, plan_freezing
from qa_core.model.quality_model import Batch, QualityModel
from qa_core.modes import resolve
from qa_core.settings.model import BackboneConfig
from tests.families import write_configs

TRANSFORMERS = ("vit", "vit_gap", "eva01", "swin")
FAMILIES = ("vit", "vit_gap", "resnet", "convnext")
PROMPTS = ["a", "a red circle to the left of a large blue star!"]


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("configs")
    write_configs(folder)
    open_clip.add_model_config(folder)


@pytest.fixture(scope="module")
def backbones(registered: None) -> dict[str, Backbone]:
    names = {*FAMILIES, *TRANSFORMERS, *PROJECTIONS, "siglip"}
    return {n: load_backbone(BackboneConfig(f"family-{n}", "none")).eval() for n in names}


def config(backbone: Backbone, **flags: Any) -> RunConfig:
    own = {"backbone": backbone.blueprint.name, "threads": 1}
    return resolve(run_config_from_flat(own | flags), backbone.spec)


def model_of(backbone: Backbone, **flags: Any) -> QualityModel:
    torch.manual_seed(0)
    tokenizer = {id(backbone.tokenizer): backbone.tokenizer}  # large, and never changed
    return QualityModel(copy.deepcopy(backbone, tokenizer), config(backbone, **flags))


def trained(model: QualityModel) -> set[str]:
    """Names of CLIP's parameters that train."""
    return {n.removeprefix("backbone.clip.") for n in model.trained if n.startswith("backbone.")}


def whole_batch(backbone: Backbone) -> Batch:
    size = (2, 3, backbone.image_size, backbone.image_size)
    pixels = torch.randint(0, 256, size, generator=torch.Generator().manual_seed(0))
    ids = backbone.tokenize(PROMPTS)
    return Batch(pixels.to(torch.uint8), ids, ids, torch.arange(2))


def step(model: QualityModel, batch: Batch, steps: int = 2) -> None:
    """Steps in training mode; the heads' last layers start at zero: CLIP moves at the second."""
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for _ in range(steps):
        output = model(batch)
        (output.q.sum() + output.c.sum() + output.cos.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def owners(backbone: Backbone) -> Iterator[tuple[str, nn.Module]]:
    for name, _ in backbone.clip.named_parameters():
        yield name, backbone.clip.get_submodule(name.rpartition(".")[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_biases_and_norms_train_and_nothing_else(
    family: str, backbones: dict[str, Backbone]
) -> None:
    backbone = backbones[family]
    expected = {
        name
        for name, owner in owners(backbone)
        if name.split(".")[-1] in ("bias", "in_proj_bias")
        or type(owner).__name__ in ("LayerNorm", "LayerNorm2d", "BatchNorm2d")
    }
    assert trained(model_of(backbone, train_only="bias_norm")) == expected
    upper = trained(model_of(backbone, train_only="bias_norm", partial_freeze=True))
    assert upper < expected and "ln_final.weight" in upper


PROJECTIONS = {
    "vit": {"visual.proj"},
    "vit_gap": {"visual.head.proj.weight"},
    "eva01": {"visual.trunk.head.weight", "visual.trunk.head.bias"},
    "resnet": {"visual.attnpool.c_proj.weight", "visual.attnpool.c_proj.bias"},
    "timm_resnet": {"visual.head.pool.proj.weight", "visual.head.pool.proj.bias"},
    "convnext": {
        *("visual.head.mlp.fc1.weight", "visual.head.mlp.fc1.bias"),
        "visual.head.mlp.fc2.weight",
    },
    "fastvit": {"visual.trunk.head.fc.weight", "visual.trunk.head.fc.bias"},
}


@pytest.mark.parametrize("family", PROJECTIONS)
def test_the_projections_train_behind_all_blocks(
    family: str, backbones: dict[str, Backbone]
) -> None:
    backbone = backbones[family]
    model = model_of(backbone, train_only="projection")
    assert trained(model) == PROJECTIONS[family] | {"text_projection"}
    depths = TowerEntry(backbone.image.depth, backbone.text.depth)
    assert model.plan.entry == depths


def test_a_tower_that_lacks_the_part_is_named(backbones: dict[str, Backbone]) -> None:
    with pytest.raises(UserError, match=r"image tower of family-siglip.*without a projection"):
        model_of(backbones["siglip"], train_only="projection")
    for family in ("resnet", "timm_resnet", "convnext", "fastvit"):
        with pytest.raises(UserError, match=rf"image tower of family-{family} has none"):
            model_of(backbones[family], adapter_reduction=4)
    # of the text tower alone they have blocks
    model_of(backbones["resnet"], adapter_reduction=4, train_only="text")


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_adapters_start_as_nothing_and_train_with_the_norms_alone(
    family: str, backbones: dict[str, Backbone]
) -> None:
    backbone, batch = backbones[family], whole_batch(backbones[family])
    plain, model = model_of(backbone).eval(), model_of(backbone, adapter_reduction=4).eval()
    with torch.no_grad():
        for name, part in plain(batch).parts().items():
            torch.testing.assert_close(model(batch).parts()[name], part, atol=1e-6, rtol=0)
    norms = {n for n, owner in owners(backbone) if isinstance(owner, nn.LayerNorm)}
    adapters = {n: m for n, m in model.named_modules() if isinstance(m, Adapter)}
    inside = {f"{name}.{part}" for name, m in adapters.items() for part, _ in m.named_parameters()}
    names = {f"backbone.clip.{name}" for name in norms} | inside
    assert {name for name in model.trained if name.startswith("backbone.")} == names
    image_blocks, text_blocks = 5 if family == "swin" else 4, 4
    assert len(adapters) == 2 * (text_blocks + image_blocks)
    before = copy.deepcopy(model.state_dict())
    step(model, batch)
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed <= model.trained
    assert all(f"{name}.up.weight" in changed for name in adapters)


def test_the_parameters_of_adapters_by_hand(backbones: dict[str, Backbone]) -> None:
    backbone = backbones["vit"]
    model = model_of(backbone, adapter_reduction=4)
    width, narrow, blocks = 16, 4, 4 + 4
    one = width * narrow + narrow + narrow * width + width
    norms = sum(
        p.numel() for m in backbone.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()
    )
    heads = sum(p.numel() for p in model.heads.parameters())
    assert count_parameters(model, trainable_only=True) == 2 * blocks * one + norms + heads


def adapted(x: torch.Tensor, adapter: Adapter) -> torch.Tensor:
    """Houlsby et al.: x plus up-projection of the nonlinearity of the down-projection."""
    down = x @ adapter.down.weight.T + adapter.down.bias
    return x + gelu(down) @ adapter.up.weight.T + adapter.up.bias


@pytest.mark.parametrize("family", ["vit", "vit_gap"])
def test_adapters_sit_before_each_residual_addition(
    family: str, backbones: dict[str, Backbone]
) -> None:
    backbone = backbones[family]
    model = model_of(backbone, adapter_reduction=4).eval()
    for module in model.modules():
        if isinstance(module, Adapter):
            nn.init.normal_(module.up.weight)
    block: Any = model.backbone.image.blocks[1]
    plain: Any = backbone.image.blocks[1]
    x = torch.randn(2, 5, block.mlp[0].in_features if family == "vit" else 32)
    first, second = (m for m in block.modules() if isinstance(m, Adapter))
    with torch.no_grad():
        if family == "vit":
            normed = plain.ln_1(x)
            y = x + adapted(plain.ls_1(plain.attn(normed, normed, normed)[0]), first)
            expected = y + adapted(plain.ls_2(plain.mlp(plain.ln_2(y))), second)
        else:
            y = x + adapted(plain.ls1(plain.attn(plain.norm1(x))), first)
            expected = y + adapted(plain.ls2(plain.mlp(plain.norm2(y))), second)
        found = model.backbone.image.run_blocks(x, 1, 2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("tower", "other"), [("image", "text"), ("text", "image")])
@pytest.mark.parametrize("family", FAMILIES)
def test_one_tower_trains_and_the_other_is_embedded_once(
    family: str, tower: str, other: str, backbones: dict[str, Backbone]
) -> None:
    backbone = backbones[family]
    model = model_of(backbone, train_only=tower)
    every = {n for n, p in backbone.clip.named_parameters() if n != "logit_scale"}
    of_image = {name for name in every if name.startswith("visual.")}
    assert trained(model) == (of_image if tower == "image" else every - of_image)
    entry = model.plan.entry
    assert (getattr(entry, tower), getattr(entry, other)) == (RAW, EMBEDDING)
    partly = config(backbone, train_only=tower, partial_freeze=True, freeze_layers=1)
    entry = plan_freezing(partly, backbone).entry
    assert (getattr(entry, tower), getattr(entry, other)) == (1, EMBEDDING)


def test_frozen_from_the_top_exactly_these_parameters_of_vit_b_32_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qa_core.backbones.backbone._sha256", lambda *_: "")
    blueprint = find_blueprint(BackboneConfig("ViT-B-32", "none"))
    with torch.device("meta"):  # names and shapes without 600 MB of weights
        architecture: Any = open_clip.get_model_config("ViT-B-32")
        clip: Any = open_clip.CLIP(**architecture)
        clip.visual.image_mean = clip.visual.image_std = None
        backbone = Backbone(clip, blueprint)
    model = QualityModel(backbone, config(backbone, **flags_of("top_frozen")))
    stem = {
        *("visual.class_embedding", "visual.positional_embedding", "visual.conv1.weight"),
        *("visual.ln_pre.weight", "visual.ln_pre.bias"),
        *("token_embedding.weight", "positional_embedding"),
    }
    of_block = (
        *("ln_1.weight", "ln_1.bias", "attn.in_proj_weight", "attn.in_proj_bias"),
        *("attn.out_proj.weight", "attn.out_proj.bias", "ln_2.weight", "ln_2.bias"),
        *("mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias"),
    )
    blocks = {
        f"{tower}transformer.resblocks.{number}.{name}"
        for tower in ("visual.", "")
        for number in range(4)  # 8 of 12 are frozen
        for name in of_block
    }
    assert trained(model) == stem | blocks
    assert model.plan.entry == TowerEntry(RAW, RAW)
    model.train()
    assert not backbone.image.blocks[11].training and backbone.image.blocks[3].training


@pytest.mark.parametrize("family", FAMILIES)
def test_each_tower_has_a_depth_of_its_own(family: str, backbones: dict[str, Backbone]) -> None:
    backbone = backbones[family]
    flags = {"partial_freeze": True, "freeze_image_layers": 3, "freeze_text_layers": 1}
    plan = plan_freezing(config(backbone, **flags), backbone)
    assert plan.entry == TowerEntry(3, 1)
    assert {"image.stem", "image.blocks.2", "text.stem", "text.blocks.0"} <= plan.frozen
    assert not {"image.blocks.3", "image.tail", "text.blocks.1"} & plan.frozen
    plan = plan_freezing(config(backbone, **flags | {"freeze_text_layers": 0}), backbone)
    assert plan.entry == TowerEntry(3, RAW) and "text.stem" not in plan.frozen
    plan = plan_freezing(config(backbone, **flags, freeze_from="top"), backbone)
    assert plan.frozen == {
        *("logits", "image.tail", "text.tail", "text.blocks.3"),
        *(f"image.blocks.{number}" for number in (1, 2, 3)),
    }
    with pytest.raises(UserError, match="--freeze_text_layers 5 is more than the 4 blocks"):
        config(backbone, partial_freeze=True, freeze_text_layers=5)


@pytest.mark.parametrize(
    "flags",
    [
        {"freeze_from": "top"},
        {"freeze_image_layers": 2},
        {"freeze_clip": True, "train_only": "image"},
        {"partial_freeze": True, "train_only": "projection"},
        {"lora_rank": 4, "adapter_reduction": 4},
        {"lora_rank": 4, "l2_sp": 0.1},
        {"adapter_reduction": 4, "wise_ft": True},
        {"adapter_reduction": 4, "train_only": "bias_norm"},
        {"soup": 3, "probe_share": 0.25},
        {"soup": 0},
    ],
    ids=str,
)
def test_flags_without_sense_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        run_config_from_flat(flags)


NARROWED = [name for name, arm in ARMS.items() if {"train_only", "lora_rank", "adapter_reduction",
                                                    "freeze_from"} & arm.flags.keys()]  # fmt: skip


@pytest.mark.parametrize("arm", NARROWED)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_checkpoint_keeps_is_all_that_changed(
    family: str, arm: str, backbones: dict[str, Backbone]
) -> None:
    backbone, batch = backbones[family], whole_batch(backbones[family])
    if arm == "adapter" and family not in TRANSFORMERS:
        return
    model, again = (model_of(backbone, **flags_of(arm)) for _ in range(2))
    step(model, batch)
    assert not again.load_state_dict(model.trained_state(), strict=False).unexpected_keys
    with torch.no_grad():
        for name, part in model(batch).parts().items():
            torch.testing.assert_close(again.eval()(batch).parts()[name], part)


@pytest.mark.parametrize("flags", [{"train_only": "projection"}, {"train_only": "image"},
                                   {"train_only": "text"}], ids=str)  # fmt: skip
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_from_the_frozen_prefix_are_those_of_the_whole_pass(
    family: str, flags: dict[str, Any], backbones: dict[str, Backbone]
) -> None:
    backbone, batch = backbones[family], whole_batch(backbones[family])
    model = model_of(backbone, **flags)
    step(model, batch)
    entry = model.plan.entry
    images, texts = batch.images.numpy(), batch.token_ids.numpy()
    if entry.image != RAW:
        images = activations(image_inputs(backbone, images, ""), [entry.image], None)[entry.image]
    if entry.text != RAW:
        texts = activations(text_inputs(backbone, batch.token_ids), [entry.text], None)[entry.text]
    tokens = torch.from_numpy(np.array(images)), torch.from_numpy(np.array(texts))
    entered = Batch(*tokens, batch.token_ids, batch.text_of, entry)
    with torch.no_grad():
        for name, part in model(batch).parts().items():
            torch.testing.assert_close(model(entered).parts()[name], part)
