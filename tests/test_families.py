"""Every supported family of architectures: opened exactly, frozen by groups, trained for a step.

This is the list of what is supported: see `tests/families.py`.
"""

import copy
from collections.abc import Iterable, Iterator

import open_clip
import pytest
import torch
from torch import nn

from qa_core.backbones.backbone import Backbone, load_backbone
from qa_core.backbones.tower import EMBEDDING, RAW, Member
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.errors import UserError
from qa_core.features.activations import activations, image_inputs, text_inputs
from qa_core.features.cache_budget import boundary_bytes
from qa_core.model.freezing import count_parameters
from qa_core.model.quality_model import Batch, QualityModel
from qa_core.modes import resolve
from qa_core.settings.model import BackboneConfig
from tests.families import CONFIGS, OF_STAGES, write_configs

PROMPTS = ["a", "a red circle to the left of a large blue star!", "two"]


@pytest.fixture(scope="module", params=list(CONFIGS))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("configs")
    write_configs(folder)
    open_clip.add_model_config(folder)
    return request.param


@pytest.fixture(scope="module")
def backbone(family: str) -> Backbone:
    return load_backbone(BackboneConfig(f"family-{family}", "none")).eval()


@pytest.fixture(scope="module")
def pixels(backbone: Backbone) -> torch.Tensor:
    size = (2, 3, backbone.image_size, backbone.image_size)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)


def parameters(members: Iterable[Member]) -> Iterator[nn.Parameter]:
    for member in members:
        yield from [member] if isinstance(member, nn.Parameter) else member.parameters()


def partly_frozen(family: str, backbone: Backbone) -> RunConfig:
    flags = {"backbone": f"family-{family}", "partial_freeze": True, "threads": 1}
    return resolve(run_config_from_flat(flags), backbone.spec)


@torch.inference_mode()
def test_both_towers_equal_open_clips(backbone: Backbone, pixels: torch.Tensor) -> None:
    theirs = backbone.clip.encode_image(backbone.normalise_pixels(pixels), normalize=True)
    torch.testing.assert_close(backbone.encode_images(pixels), theirs)
    theirs = backbone.clip.encode_text(backbone.tokenizer(PROMPTS), normalize=True)
    torch.testing.assert_close(backbone.encode_texts(backbone.tokenize(PROMPTS)), theirs)


@torch.inference_mode()
def test_a_cached_prefix_of_any_depth_gives_the_whole_forward_pass(
    backbone: Backbone, pixels: torch.Tensor
) -> None:
    ids = backbone.tokenize(PROMPTS)
    depths = range(1, backbone.image.depth + 1)
    images = activations(image_inputs(backbone, pixels.numpy(), ""), [*depths, EMBEDDING], None)
    whole = backbone.encode_images(pixels)
    torch.testing.assert_close(torch.from_numpy(images[EMBEDDING]), whole)
    for depth in depths:
        assert images[depth].shape[1:] == backbone.image.token_shape(depth)
        entered = backbone.image.embed(torch.from_numpy(images[depth]), depth)
        torch.testing.assert_close(entered, whole)
    depths = range(1, backbone.text.depth + 1)
    texts = activations(text_inputs(backbone, ids), [*depths, EMBEDDING], None)
    for depth in depths:
        entered = backbone.text.embed(torch.from_numpy(texts[depth]), ids, depth)
        torch.testing.assert_close(entered, torch.from_numpy(texts[EMBEDDING]))
    kept = images[1].nbytes + texts[1].nbytes
    assert boundary_bytes(backbone, 1, 2, len(ids), ids.shape[1], "full") == kept


def test_groups_hold_every_parameter_once(backbone: Backbone, family: str) -> None:
    members = [m for group in backbone.groups().values() for m in group]
    held = list(parameters(members))
    assert len({id(p) for p in held}) == len(held) == len(list(backbone.parameters()))
    if family in OF_STAGES:
        assert backbone.image.depth == 4  # of which the canonical 3 are frozen
        assert partly_frozen(family, backbone).freeze.freeze_layers == 3


@pytest.fixture(scope="module")
def model(family: str, backbone: Backbone) -> QualityModel:
    return QualityModel(copy.deepcopy(backbone), partly_frozen(family, backbone)).train()


def test_frozen_groups_do_not_train_and_stay_in_eval_mode(model: QualityModel) -> None:
    groups = model.backbone.groups()
    for name, members in groups.items():
        trains = name not in model.plan.frozen
        constants = {id(constant) for constant in model.backbone.fixed}
        for parameter in parameters(members):
            assert parameter.requires_grad == (trains and id(parameter) not in constants)
        for module in (member for member in members if isinstance(member, nn.Module)):
            assert all(part.training == trains for part in module.modules())
    heads = sum(p.numel() for p in model.heads.parameters())
    trained = {name: m for name, m in groups.items() if name not in model.plan.frozen}
    towers = sum(p.numel() for members in trained.values() for p in parameters(members))
    assert count_parameters(model, trainable_only=True) == heads + towers


def test_a_step_behind_the_frozen_prefix_changes_what_trains_and_nothing_else(
    model: QualityModel, pixels: torch.Tensor
) -> None:
    backbone, entry = model.backbone, model.plan.entry
    assert RAW not in (entry.image, entry.text)
    ids = backbone.tokenize(PROMPTS[:2])
    images = activations(image_inputs(backbone, pixels.numpy(), ""), [entry.image], None)
    texts = activations(text_inputs(backbone, ids), [entry.text], None)
    tokens = torch.from_numpy(images[entry.image]), torch.from_numpy(texts[entry.text])
    batch = Batch(*tokens, ids, torch.arange(2), entry)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    for _ in range(2):  # the heads' last layers start at zero: CLIP moves at the second step
        output = model(batch)
        (output.q.sum() + output.c.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed <= model.trained_state().keys()
    assert any(name.startswith("backbone.clip.visual") for name in changed)
    assert all(value.isfinite().all() for value in after.values())
    if any(isinstance(part, nn.BatchNorm2d) for part in backbone.image.blocks[-1].modules()):
        assert any(name.endswith("running_mean") for name in changed)


def test_towers_that_cannot_be_opened_are_refused_with_what_can() -> None:
    for name in ("roberta-ViT-B-32", "vit_relpos_medium_patch16_cls_224"):
        with pytest.raises(UserError, match=r"not supported.*SigLIP.*ConvNeXt"):
            load_backbone(BackboneConfig(name, "none"))
