"""Weights from files and folders, with their tokenizer; nothing in them is executed."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, processors, trainers

from qa_core.backbones.backbone import load_backbone, load_tokenizer
from qa_core.config import run_config_from_flat
from qa_core.data.splits import plan_splits
from qa_core.errors import UserError
from qa_core.features.workspace import Workspace
from qa_core.modes import resolve
from qa_core.scorer import Scorer
from qa_core.settings.model import BackboneConfig
from qa_core.training.training_run import train_run
from tests.families import CONFIGS

PROMPTS = ["A red circle, left of a blue star!", "two", "a very long prompt " * 9]
PAD, END = 0, 1


def save_tokenizer(folder: Path) -> Path:
    """A small tokenizer of SigLIP's kind, as Hugging Face saves it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Prepend("▁")
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=90, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(PROMPTS * 20, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", END)])
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "<pad>"}}))
    return folder


def siglip_config() -> dict[str, Any]:
    config = json.loads(json.dumps(CONFIGS["siglip"]))
    config["text_cfg"] |= {"context_length": 24, "vocab_size": 100, "hf_tokenizer_name": "org/name"}
    config["text_cfg"]["tokenizer_kwargs"] = {"clean": "canonicalize"}
    return config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Hugging Face folder as open_clip's models have it on the hub."""
    folder = save_tokenizer(tmp_path / "model")
    pixels = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    content = {"model_cfg": siglip_config(), "preprocess_cfg": pixels}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    torch.manual_seed(1)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def test_a_folder_gives_architecture_weights_pixels_and_tokenizer(folder: Path):
    backbone = load_backbone(BackboneConfig(str(folder)))
    random = load_backbone(BackboneConfig(str(folder), "none"))
    assert backbone.sha256 != random.sha256
    assert backbone.pixel_mean.flatten().tolist() == [0.5] * 3
    ids = backbone.tokenizer(PROMPTS)
    assert ids.shape == (3, 24) and ids[1, -1] == PAD and ids[2, -1] == END
    assert torch.equal(ids[0], backbone.tokenizer(["a red circle left of a blue star"])[0])
    assert backbone.tokenize(["two"]).shape == (1, 24)  # full attention reads the padding too


def test_what_a_folder_lacks_is_said(folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"without a usable open_clip_config\.json"):
        load_backbone(BackboneConfig(str(tmp_path)))
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"holds no weights .*--pretrained FILE"):
        load_backbone(BackboneConfig(str(folder)))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"holds no usable tokenizer\.json"):
        load_backbone(BackboneConfig(str(folder)))


def test_a_whole_checkpoint_needs_the_folder_no_more(
    folder: Path, small_table: Path, tmp_path: Path
):
    flags = {"backbone": str(folder), "threads": 1, "epochs": 1, "batch_size": 8, "lr_head": 0.01}
    base = run_config_from_flat(flags | {"data_csv_path": str(small_table)})
    workspace = Workspace.open(base, tmp_path / "cache")
    split = plan_splits(workspace.table.frame["group"].to_numpy(str)).splits[0]
    config = resolve(base, workspace.spec)
    results = [
        train_run(
            config, workspace, split, test=False, output_dir=tmp_path / name, standalone=whole
        )
        for name, whole in (("whole", True), ("changed", False))
    ]
    whole, changed = (result.checkpoint for result in results)
    assert whole is not None and changed is not None
    images = workspace.table.frame["image_path"].tolist()[:2]
    before = Scorer.load(changed, "cpu").score(images, PROMPTS[:2])
    shutil.rmtree(folder)
    np.testing.assert_array_equal(Scorer.load(whole, "cpu").score(images, PROMPTS[:2]), before)
    with pytest.raises(UserError, match="neither a model that open_clip knows nor a folder"):
        Scorer.load(changed, "cpu")


@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pt"])
def test_a_file_of_weights_is_read_whatever_its_kind(
    narrow_models: None, tmp_path: Path, suffix: str
):
    torch.manual_seed(1)
    state = open_clip.create_model("narrow-3", load_weights=False).state_dict()
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    loaded = load_backbone(BackboneConfig("narrow-3", str(path)))
    for name, value in loaded.clip.state_dict().items():
        assert torch.equal(value, state[name])


def narrow_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return open_clip.create_model("narrow-3", load_weights=False).state_dict()


def assert_loaded(config: BackboneConfig, state: dict[str, torch.Tensor]) -> None:
    for name, value in load_backbone(config).clip.state_dict().items():
        assert torch.equal(value, state[name])


@pytest.mark.parametrize("wrap", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_what_training_wraps_around_weights_is_taken_off(
    narrow_models: None, tmp_path: Path, prefix: str, wrap: str | None
):
    state = narrow_state()
    content: Any = {prefix + name: value for name, value in state.items()}
    content = content if wrap is None else {"epoch": 3, wrap: content, "optimizer": {"lr": 1.0}}
    torch.save(content, tmp_path / "weights.pt")
    assert_loaded(BackboneConfig("narrow-3", str(tmp_path / "weights.pt")), state)


def narrow_folder(folder: Path) -> Path:
    folder.mkdir()
    content = {"model_cfg": open_clip.get_model_config("narrow-3")}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    "name", ["open_clip_pytorch_model.pt", "epoch_latest.pt", "model.pth", "pytorch_model.bin"]
)
def test_a_folders_only_weights_are_loaded_whatever_they_end_in(
    narrow_models: None, tmp_path: Path, name: str
):
    folder, state = narrow_folder(tmp_path / "model"), narrow_state()
    torch.save({"epoch": 1, "state_dict": state}, folder / name)
    assert_loaded(BackboneConfig(str(folder)), state)


def test_of_several_files_the_usual_one_is_taken_or_it_is_asked(
    narrow_models: None, tmp_path: Path
):
    folder, state = narrow_folder(tmp_path / "model"), narrow_state()
    for epoch in (1, 2):
        torch.save(state, folder / f"epoch_{epoch}.pt")
    with pytest.raises(UserError, match=r"several files of weights \(epoch_1\.pt, epoch_2\.pt\)"):
        load_backbone(BackboneConfig(str(folder)))
    assert_loaded(BackboneConfig(str(folder), str(folder / "epoch_2.pt")), state)
    save_file(state, folder / "open_clip_model.safetensors")
    assert_loaded(BackboneConfig(str(folder)), state)


def test_weights_that_are_not_all_there_are_named(narrow_models: None, tmp_path: Path):
    state, path = narrow_state(), tmp_path / "weights.pt"
    block = "visual.transformer.resblocks.0.mlp.c_fc.bias"
    for changed, message in (
        ({n: v for n, v in state.items() if n != block}, rf"1 missing: {block}\."),
        (state | {"lora.a": torch.ones(1)}, r"1 unexpected: lora\.a\."),
        (state | {block: torch.ones(3)}, rf"another shape or type: {block} \(3,\) float32 for"),
        (state | {block: state[block].long()}, rf"{block} \(\d+,\) int64 for .* float32"),
        ({f"encoder.{n}": v for n, v in state.items()}, r"missing: .* more; .*unexpected: encoder"),
        ({"visual.proj": state["visual.proj"]}, r"missing: .* more\."),
        ({}, "holds no weights"),
        ({"state_dict": {"lr": 0.1}}, "holds no weights"),
    ):
        torch.save(changed, path)
        with pytest.raises(UserError, match=message):
            load_backbone(BackboneConfig("narrow-3", str(path)))


def test_weights_for_another_size_are_not_stretched(narrow_models: None, tmp_path: Path):
    state, path = narrow_state(), tmp_path / "weights.pt"
    positions = state["visual.positional_embedding"]
    torch.save(state | {"visual.positional_embedding": torch.cat([positions] * 2)}, path)
    with pytest.raises(UserError, match=r"shape or type: visual\.positional_embedding"):
        load_backbone(BackboneConfig("narrow-3", str(path)))


class _Harmful:
    def __init__(self, touched: Path):
        self.touched = touched

    def __reduce__(self) -> Any:
        return (Path.touch, (self.touched,))


def test_a_file_that_would_execute_something_is_refused(narrow_models: None, tmp_path: Path):
    for number, save in enumerate((torch.save, lambda o, p: p.write_bytes(pickle.dumps(o)))):
        path, touched = tmp_path / f"{number}.pt", tmp_path / "touched"
        save({"state_dict": _Harmful(touched)}, path)
        with pytest.raises(UserError, match=r"narrow-3: --pretrained .*cannot be loaded"):
            load_backbone(BackboneConfig("narrow-3", str(path)))
        assert not touched.exists()


def test_a_published_file_is_normalised_as_its_kind_is_everywhere(tmp_path: Path):
    config = BackboneConfig("ViT-B-16-SigLIP", tokenizer=str(save_tokenizer(tmp_path)))
    from qa_core.backbones.blueprint import _published_pixels

    assert _published_pixels(config.backbone)["mean"] == (0.5, 0.5, 0.5)
    assert _published_pixels("ViT-L-14") == {}  # its published weights disagree
    assert load_tokenizer(config)(["two"]).shape == (1, 64)


def test_without_network_it_says_what_to_fetch_and_where_to_put_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"hf download timm/ViT-B-16-SigLIP .*--tokenizer FOLDER"):
        load_backbone(BackboneConfig("ViT-B-16-SigLIP"))
    with pytest.raises(UserError, match=r"hf download timm/\S+openai --local-dir .*--backbone FOL"):
        load_backbone(BackboneConfig("ViT-B-32"))


def test_a_tokenizer_of_another_model_is_refused(folder: Path, tmp_path: Path):
    before = load_backbone(BackboneConfig(str(folder))).sha256
    (folder / "tokenizer_config.json").write_text('{"pad_token": "</s>"}')
    assert load_backbone(BackboneConfig(str(folder))).sha256 != before  # other ids: other results
    config = siglip_config()
    config["text_cfg"]["vocab_size"] = 20
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    backbone = load_backbone(BackboneConfig(str(folder), "none"))
    with pytest.raises(UserError, match="beyond the 20 of the text tower"):
        backbone.tokenize(PROMPTS)
