"""Further arms: each does what its name says, and trains, saves and scores as a mode does."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from qa_core.arms import ARMS, MODES, parse_arms
from qa_core.backbones.backbone import load_backbone
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.data.splits import Split
from qa_core.errors import UserError
from qa_core.features.workspace import Workspace
from qa_core.model.heads import ExpectedLevel
from qa_core.model.lora import ALPHA, LowRankChange
from qa_core.model.quality_model import QualityModel
from qa_core.model.texts import PromptTexts
from qa_core.modes import BackboneSpec, mode_config
from qa_core.scorer import Scorer
from qa_core.settings.model import BackboneConfig
from qa_core.training.averaging import WeightAverage
from qa_core.training.interpolation import PERCENTS, interpolate
from qa_core.training.optim import depth_factors
from qa_core.training.trainer import Trainer, probe_epochs
from qa_core.training.training_run import prepare_run, train_run
from tests.small_runs import SMALL, config

SPEC = BackboneSpec(12, 4, published=True)


def trained(workspace: Workspace, split: Split, **flags: Any) -> tuple[QualityModel, Trainer]:
    model, trainer = prepare_run(config(workspace, **flags), workspace, split)
    trainer.fit()
    return model, trainer


def clip_state(model: QualityModel) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.backbone.named_parameters()}


@pytest.mark.parametrize("name", ARMS)
def test_an_arm_differs_from_its_mode_in_its_own_flags_alone(name: str) -> None:
    arm = ARMS[name]
    mode, own = mode_config(arm.of, RunConfig(), SPEC).flat(), mode_config(name, RunConfig(), SPEC)
    changed = {flag for flag, value in own.flat().items() if value != mode[flag]}
    assert arm.of in MODES
    assert changed == set(arm.flags) | ({"lr"} if arm.rate_factor != 1 else set())
    for knob, (low, high) in arm.knobs.items():
        assert low <= own.flat()[knob] <= high


def test_names_of_arms_are_read_and_mistakes_told() -> None:
    assert parse_arms("llrd,lp_ft") == parse_arms(" lp_ft llrd") == ("lp_ft", "llrd")
    assert parse_arms("") == () and parse_arms("all") == tuple(ARMS)
    with pytest.raises(UserError, match=r"no arm; there are lp_ft, llrd"):
        parse_arms("lpft")


@pytest.mark.parametrize(
    "flags",
    [
        {"freeze_clip": True, "wise_ft": True},
        {"wise_ft": True, "lora_rank": 4},
        {"antonym_prompts": True, "residual_learning": False},
        {"antonym_prompts": True, "base_init": "fit"},
    ],
    ids=str,
)
def test_flags_that_contradict_each_other_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        run_config_from_flat(flags)


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_trains_and_its_checkpoint_scores_as_it_was_measured(
    name: str, workspace: Workspace, split: Split, tmp_path: Path
) -> None:
    base = run_config_from_flat(SMALL | {"epochs": 2})
    arm = mode_config(name, base, workspace.spec)
    result = train_run(arm, workspace, split, test=True, output_dir=tmp_path)
    for measure in ("alignment_retention", "seconds_per_epoch", "trainable_parameters",
                    "train_val_gap_last_consistency"):  # fmt: skip
        assert measure in result.metrics
    has_correction = arm.head.residual_learning
    assert ("test_delta_saturation_quality" in result.metrics) == has_correction
    assert result.checkpoint is not None and result.predictions is not None
    rows = result.predictions.head(3)
    files = [str(workspace.table.frame["image_path"].iloc[row]) for row in rows["row"]]
    scores = Scorer.load(result.checkpoint, "cpu").score(files, rows["prompt"].tolist())
    corrected = ("q_base", "c_base", "c_delta", "cos") if has_correction else ()
    for part in ("q", "c", *corrected):
        np.testing.assert_allclose(scores[part], rows[part], atol=2e-6)


def test_the_heads_train_alone_first_and_from_there_all(workspace: Workspace, split: Split) -> None:
    flags = {"probe_share": 0.5, "epochs": 4}
    assert probe_epochs(config(workspace, **flags)) == 2
    model, trainer = prepare_run(config(workspace, **flags), workspace, split)
    before = clip_state(model)
    changed: list[bool] = []

    def watch(epoch: int, measures: dict[str, float], is_best: bool) -> None:
        now = clip_state(model)
        changed.append(any(not torch.equal(now[n], before[n]) for n in before))

    trainer.fit(watch)
    assert changed == [False, False, True, True]
    probe, _ = trained(workspace, split, freeze_clip=True, epochs=2, lr=1e-3)
    heads = trainer.state.history[2]["val_srocc_quality"]
    alone = Trainer(probe, trainer.data, config(workspace, freeze_clip=True, lr=1e-3), "cpu")
    assert heads == pytest.approx(alone.measures()["val_srocc_quality"])


@pytest.mark.parametrize("flags", [{"probe_share": 0.5}, {"ema_decay": 0.9}], ids=str)
def test_going_on_in_any_phase_gives_the_same_digits(
    flags: dict[str, Any], workspace: Workspace, split: Split, tmp_path: Path
) -> None:
    chosen = config(workspace, epochs=4, **flags)
    whole = train_run(chosen, workspace, split, test=True)
    kept: list[Path] = []

    def keep(epoch: int, measures: dict[str, float], checkpoint: Path | None) -> None:
        kept.append(tmp_path / f"{epoch}.pt")
        last = next(tmp_path.glob("*_last.pt"))
        kept[-1].write_bytes(last.read_bytes())

    train_run(
        chosen, workspace, split, test=False, output_dir=tmp_path, standalone=True, on_epoch=keep
    )
    for last in kept[:3]:
        again = train_run(chosen, workspace, split, test=True, resume_from=last)
        assert again.predictions is not None and whole.predictions is not None
        pd.testing.assert_frame_equal(again.predictions, whole.predictions, check_exact=True)


def test_rates_fall_from_block_to_block(narrow_models: None) -> None:
    backbone = load_backbone(BackboneConfig("narrow-3", "none"))
    factors = depth_factors(backbone, 0.5)
    visual, clip = backbone.clip.visual, backbone.clip
    assert factors[id(visual.proj)] == factors[id(clip.text_projection)] == 1
    assert factors[id(visual.transformer.resblocks[2].attn.in_proj_weight)] == 0.5
    assert factors[id(clip.transformer.resblocks[1].mlp.c_fc.weight)] == 0.5
    assert factors[id(visual.transformer.resblocks[0].ln_1.weight)] == 0.125
    assert factors[id(visual.conv1.weight)] == 0.5**4
    assert factors[id(clip.token_embedding.weight)] == 0.5**3


def test_the_average_of_weights_by_its_definition() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    average = WeightAverage([weight], decay=0.5)
    expected = torch.zeros(2)
    for step in range(1, 12):
        weight.data = torch.tensor([1.0, 2.0]) * step
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.data
    with average.in_place():
        torch.testing.assert_close(weight.data, expected)
    assert weight.tolist() == [11.0, 22.0]


def test_interpolation_reaches_both_ends_and_stays_at_the_best_place(
    workspace: Workspace, split: Split
) -> None:
    model, _ = trained(workspace, split, lr=1e-2)
    pretrained = workspace.backbone.state_dict()
    name = "clip.visual.transformer.resblocks.1.mlp.c_fc.weight"
    end = model.backbone.get_parameter(name).detach().clone()
    seen: dict[int, torch.Tensor] = {}

    def measure() -> dict[str, float]:
        percent = PERCENTS[len(seen)]
        seen[percent] = model.backbone.get_parameter(name).detach().clone()
        return {"selection": 1.0 if percent in (30, 40) else 0.0}

    found = interpolate(model, pretrained, measure)
    assert torch.equal(seen[0], pretrained[name]) and torch.equal(seen[100], end)
    assert not torch.equal(seen[0], seen[100])
    torch.testing.assert_close(seen[30], 0.7 * seen[0] + 0.3 * seen[100])
    assert found.percent == 40
    assert torch.equal(model.backbone.get_parameter(name), seen[40])


def test_low_rank_changes_reach_attention_and_nothing_else_of_clip_moves(
    workspace: Workspace, split: Split
) -> None:
    model, _ = trained(workspace, split, lora_rank=2, lr=1e-1)
    plain = QualityModel(workspace.fresh_backbone(config(workspace)), config(workspace))
    start = plain.backbone.state_dict()
    merged: dict[str, torch.Tensor] = {}
    for name, module in model.backbone.named_modules():
        if isinstance(module, LowRankChange):
            owner, _, rest = name.partition(".parametrizations.")
            weight = f"{owner}.{rest.split('.')[0]}"
            change = ALPHA / 2 * (module.b @ module.a).detach()
            assert change.abs().max() > 0
            merged[weight] = start[weight] + change
    assert all(".resblocks." in name for name in merged)
    assert any(name.endswith("attn.in_proj_weight") for name in merged)
    assert any(name.endswith("attn.out_proj.weight") for name in merged)
    assert any(name.endswith("mlp.c_proj.weight") for name in merged)
    originals = {
        n: v for n, v in model.backbone.state_dict().items() if not n.endswith((".a", ".b"))
    }
    for name, value in originals.items():
        plain_name = name.replace("parametrizations.", "").removesuffix(".original")
        assert torch.equal(value, start[plain_name])
    plain.backbone.load_state_dict(start | merged)
    images = torch.from_numpy(np.array(workspace.images[:4]))
    ids = workspace.backbone.tokenize(["a cat", "two dogs on a hill"])
    model.eval()
    plain.eval()
    for own, other in (
        (model.backbone.encode_images(images), plain.backbone.encode_images(images)),
        (model.backbone.encode_texts(ids), plain.backbone.encode_texts(ids)),
    ):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=0)


def test_texts_of_some_prompts_among_those_of_all() -> None:
    prompts = ["a", "b", "c", "d"]
    read = PromptTexts(levels=True)
    everything = read.of(prompts)
    chosen = np.array([1, 3])
    rows = read.rows(chosen, len(everything))
    assert [everything[row] for row in rows] == read.of(["b", "d"])
    assert "a photo that badly matches 'd'" in everything


def test_an_expected_level_by_its_formula() -> None:
    torch.manual_seed(0)
    img, texts = torch.randn(3, 4), torch.randn(3, 5, 4)
    found = ExpectedLevel(7.0)(img, texts)
    for row in range(3):
        weights = np.exp(7.0 * (texts[row] @ img[row]).numpy())
        expected = (weights / weights.sum()) @ np.array([0, 0.25, 0.5, 0.75, 1])
        assert found[row].item() == pytest.approx(expected, rel=1e-5)


def test_scores_by_antonyms_do_not_depend_on_company(
    workspace: Workspace, split: Split, tmp_path: Path
) -> None:
    chosen = config(workspace, antonym_prompts=True, epochs=1)
    result = train_run(chosen, workspace, split, test=False, output_dir=tmp_path)
    assert result.checkpoint is not None
    scorer = Scorer.load(result.checkpoint, "cpu")
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)) for _ in range(2)]
    both = scorer.score(images, ["a cat", "a very long prompt about a dog and two hats"])
    alone = scorer.score(images[1:], "a very long prompt about a dog and two hats")
    assert both.iloc[1].to_dict() == alone.iloc[0].to_dict()
