"""The activation that weights were trained with is the one that is built."""

import hashlib
import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file
from torch import nn

from qa_core.backbones import blueprint as blueprints
from qa_core.backbones import weights as weights_module
from qa_core.backbones.backbone import Backbone, load_backbone
from qa_core.backbones.blueprint import find_blueprint, load_model
from qa_core.errors import UserError
from qa_core.settings.model import BackboneConfig

PAIRS = open_clip.list_pretrained()


def activations(model: nn.Module) -> set[type]:
    return {type(m) for m in model.modules() if isinstance(m, (QuickGELU, nn.GELU))}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the product builds of a published pair: its own way, narrow and without weights."""
    create = open_clip.create_model

    def narrow(spec: str, pretrained: str | None = None, **options: Any) -> nn.Module:
        config = open_clip.get_model_config(spec)
        assert config is not None
        is_resnet = isinstance(config["vision_cfg"].get("layers"), list)
        layers = [1] * 4 if is_resnet else 1
        config["vision_cfg"] |= {"width": 64, "head_width": 64, "layers": layers}
        config["text_cfg"] |= {"width": 64, "heads": 1, "layers": 1, "vocab_size": 8}
        if "multimodal_cfg" in config:
            config["multimodal_cfg"] |= {"width": 64, "heads": 1, "layers": 1}
        monkeypatch.setattr("open_clip.factory.get_model_config", lambda name: config)
        return create(spec, force_quick_gelu=options.get("force_quick_gelu", False))

    monkeypatch.setattr(blueprints.open_clip, "create_model", narrow)
    monkeypatch.setattr(blueprints, "find_tokenizer", lambda config, text: None)

    def build(name: str, tag: str) -> nn.Module:
        config = BackboneConfig(name, tag)
        return load_model(config, find_blueprint(config))

    return build


def test_every_published_pair_is_built_as_open_clip_records_it(built: Any):
    seen: dict[tuple[str, bool], set[type]] = {}
    for name, tag in PAIRS:
        config = open_clip.get_model_config(name)
        assert config is not None
        if config["text_cfg"].get("hf_model_name"):
            continue  # refused
        record = bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu"))
        architecture = find_blueprint(BackboneConfig(name, tag)).architecture
        assert bool(architecture.get("quick_gelu")) == record, (name, tag)
        if "timm_model_name" in config["vision_cfg"]:
            assert not record  # timm's towers have activations of their own
            continue
        if (name, record) not in seen:
            seen[name, record] = activations(built(name, tag))
        assert seen[name, record] == {QuickGELU if record else nn.GELU}, (name, tag)
    assert len(seen) > 40 and sum(record for _, record in seen) > 20


def test_what_is_built_without_a_tag_is_the_default_tag(built: Any):
    assert activations(built("ViT-B-32", "default")) == {QuickGELU}
    assert activations(built("ViT-B-32", "laion2b_s34b_b79k")) == {nn.GELU}
    assert activations(built("ViT-B-32-quickgelu", "metaclip_400m")) == {QuickGELU}


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A small model that open_clip knows with either activation; returns an empty folder."""
    small: dict[str, Any] = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
        "text_cfg": {"width": 64, "heads": 1, "layers": 2},
    }
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "small-both.json").write_text(json.dumps(small))
    (configs / "small-both-quickgelu.json").write_text(json.dumps(small | {"quick_gelu": True}))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", dict(open_clip.factory._MODEL_CONFIGS))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", [configs])
    open_clip.factory._rescan_model_configs()
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


def quick_model() -> Any:
    torch.manual_seed(5)
    model: Any = open_clip.create_model("small-both-quickgelu", load_weights=False).eval()
    with torch.no_grad():  # activations far from 0, where the two differ
        for block in [*model.visual.transformer.resblocks, *model.transformer.resblocks]:
            block.mlp.c_fc.weight.mul_(8)
    return model


@torch.no_grad()
def assert_same_scores(backbone: Backbone, model: Any) -> None:
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    prompts = ["a cat", "a red dog", "nothing", "two stars"]
    image = model.encode_image(backbone.normalise_pixels(pixels), normalize=True)
    text = model.encode_text(open_clip.tokenize(prompts), normalize=True)
    ours = backbone.eval().encode_images(pixels), backbone.encode_texts(backbone.tokenize(prompts))
    cos = (ours[0] * ours[1]).sum(1)
    torch.testing.assert_close(cos, (image * text).sum(1), atol=1e-6, rtol=0)


def test_a_file_that_does_not_tell_is_asked_for_by_name(both: Path):
    model, file = quick_model(), both / "weights.pt"
    torch.save(model.state_dict(), file)
    with pytest.raises(UserError, match=r"small-both-quickgelu takes .*small-both-gelu takes"):
        load_backbone(BackboneConfig("small-both", str(file)))
    quick = load_backbone(BackboneConfig("small-both-quickgelu", str(file)))
    assert_same_scores(quick, model)
    plain = load_backbone(BackboneConfig("small-both-gelu", str(file)))
    assert activations(plain.clip) == {nn.GELU} and plain.sha256 != quick.sha256
    random = load_backbone(BackboneConfig("small-both", "none"))
    assert activations(random.clip) == {nn.GELU}


def test_a_description_beside_the_file_tells(both: Path):
    model, file = quick_model(), both / "open_clip_model.safetensors"
    save_file(model.state_dict(), file)
    config = {"model_cfg": open_clip.get_model_config("small-both-quickgelu")}
    (both / "open_clip_config.json").write_text(json.dumps(config))
    assert_same_scores(load_backbone(BackboneConfig("small-both", str(file))), model)
    assert_same_scores(load_backbone(BackboneConfig(str(both))), model)


def test_openais_own_extras_tell(both: Path):
    model, file = quick_model(), both / "ViT-B-32.pt"
    extras = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
    tensors = {name: torch.tensor(value) for name, value in extras.items()}
    torch.save(model.state_dict() | tensors, file)
    assert_same_scores(load_backbone(BackboneConfig("small-both", str(file))), model)


def test_openais_archive_is_opened_by_its_published_hash_alone(
    both: Path, monkeypatch: pytest.MonkeyPatch
):
    model, file = quick_model(), both / "ViT-B-32.pt"
    script = torch.jit.script(_Holder(model.state_dict()))
    script.save(str(file))
    with pytest.raises(UserError, match=r"cannot be loaded"):
        load_backbone(BackboneConfig("small-both-quickgelu", str(file)))
    known = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(weights_module, "openai_hashes", lambda: {known})
    loaded = load_backbone(BackboneConfig("small-both-quickgelu", str(file)))
    assert_same_scores(loaded, model)


class _Holder(nn.Module):
    """Parameters by the dotted names of a state dict, as a scripted CLIP has them."""

    def __init__(self, state: dict[str, torch.Tensor]):
        super().__init__()
        for name, value in state.items():
            module: nn.Module = self
            *path, last = name.split(".")
            for part in path:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module._modules[part]  # pyright: ignore[reportAssignmentType]
            module.register_parameter(last, nn.Parameter(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x
