"""Penalties on leaving the start, soups, and averages that carry statistics, by definition."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch

from qa_core.backbones.backbone import Backbone, load_backbone
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.data.splits import Split
from qa_core.features.workspace import Workspace
from qa_core.model.quality_model import Batch, QualityModel
from qa_core.modes import resolve
from qa_core.settings.model import BackboneConfig
from qa_core.training.averaging import WeightAverage
from qa_core.training.identity import RESULTS_VERSION, _determining, run_identity
from qa_core.training.interpolation import PERCENTS, interpolate
from qa_core.training.optim import make_optimizer
from qa_core.training.trainer import Trainer
from qa_core.training.training_run import prepare_run, train_run
from tests.families import write_configs
from tests.small_runs import config

WITH_BATCH_NORMS = ("resnet", "timm_resnet", "fastvit")


def prepared(workspace: Workspace, split: Split, **flags: Any) -> tuple[QualityModel, Trainer]:
    return prepare_run(config(workspace, **flags), workspace, split)


def test_the_distance_of_weights_by_hand(workspace: Workspace, split: Split) -> None:
    model, trainer = prepared(workspace, split, l2_sp=0.3)
    start = {n: p.detach().clone() for n, p in model.backbone.named_parameters()}
    trainer.fit()
    rows = split.train[:4]
    batch = trainer.features.batch(rows, "cpu")
    found = trainer.penalties.terms(model, model(batch), rows, batch)
    moved = [(p - start[n]).detach().numpy() for n, p in model.backbone.named_parameters()]
    expected = 0.3 * 0.5 * sum(float((m.astype(float) ** 2).sum()) for m in moved)
    assert expected > 0
    assert found.keys() == {"loss_l2_sp"}
    assert float(found["loss_l2_sp"].detach()) == pytest.approx(expected, rel=1e-4)
    assert trainer.state.history[-1]["loss_l2_sp"] > 0


def test_drawn_to_their_start_weights_do_not_decay_to_zero(
    workspace: Workspace, split: Split
) -> None:
    model, _ = prepared(workspace, split)
    decays = {}
    for group in make_optimizer(model, config(workspace).optim, decays_clip=False).param_groups:
        decays |= {id(parameter): group["weight_decay"] for parameter in group["params"]}
    assert {decays[id(p)] for p in model.backbone.parameters() if p.requires_grad} == {0.0}
    assert decays[id(model.get_parameter("heads.q_base_head.weight"))] == 0.01


def test_strong_penalties_keep_weights_and_embeddings(workspace: Workspace, split: Split) -> None:
    def moved(**flags: Any) -> tuple[float, float]:
        model, trainer = prepared(workspace, split, lr=1e-3, epochs=4, **flags)
        start = {n: p.detach().clone() for n, p in model.backbone.named_parameters()}
        trainer.fit()
        pairs = [(p, start[n]) for n, p in model.backbone.named_parameters()]
        weights = sum(float((now - then).detach().square().sum()) for now, then in pairs)
        model.eval()
        batch = trainer.features.batch(split.train, "cpu")
        before = workspace.pretrained_embeddings().image[split.train]
        img = model.embed_images(batch).detach().numpy()
        return weights, float(1 - (img * before).sum(axis=1).mean())

    weights, embeddings = moved()
    assert moved(l2_sp=100.0)[0] < 0.3 * weights
    assert moved(anchor=100.0)[1] < 0.3 * embeddings


def test_the_distance_of_embeddings_by_hand(workspace: Workspace, split: Split) -> None:
    model, trainer = prepared(workspace, split, anchor=0.7, lr=1e-3)
    trainer.fit()
    rows = split.train[:5]
    batch = trainer.features.batch(rows, "cpu")
    output = model(batch)
    found = trainer.penalties.terms(model, output, rows, batch)["loss_anchor"]
    before = workspace.pretrained_embeddings()
    cosines = [
        [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(now, then[rows], strict=True)]
        for now, then in (
            (output.img.detach().numpy(), before.image),
            (output.txt.detach().numpy(), before.text),
        )
    ]
    assert float(found.detach()) == pytest.approx(0.7 * (1 - np.mean(cosines)), rel=1e-4)
    assert float(found.detach()) > 0


def test_a_soup_is_the_mean_of_trainings_from_one_start(workspace: Workspace, split: Split) -> None:
    model, trainer = prepared(workspace, split, soup=3, lr=1e-3)
    start = model.trained_state()
    told: list[tuple[int, int]] = []
    trainer.fit(on_step=lambda done, total: told.append((done, total)))
    state = trainer.state
    assert state.epoch == 6 and len(state.history) == 7 and len(state.ingredients) == 2
    assert [done for done, _ in told] == list(range(1, told[0][1] + 1))
    states = [*state.ingredients, state.best_state]
    name = "backbone.clip.visual.transformer.resblocks.1.mlp.c_fc.weight"
    assert not torch.equal(states[0][name], states[1][name])
    result = train_run(config(workspace, soup=3, lr=1e-3), workspace, split, test=True)
    mean, _ = prepared(workspace, split)
    mean.load_state_dict(start | {
        n: sum((one[n].double() for one in states[1:]), states[0][n].double()).float() / 3
        for n, value in state.best_state.items() if value.is_floating_point()
    }, strict=False)  # fmt: skip
    mean.eval()
    assert result.predictions is not None
    scores = trainer_scores(mean, trainer, split.test)
    np.testing.assert_allclose(result.predictions["q"], scores, atol=1e-6)


def trainer_scores(model: QualityModel, trainer: Trainer, rows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(trainer.features.batch(rows, "cpu")).q.numpy()


def test_the_first_of_a_soup_is_the_plain_training(workspace: Workspace, split: Split) -> None:
    _, plain = prepared(workspace, split)
    _, soup = prepared(workspace, split, soup=2)
    plain.fit()
    soup.fit()
    for name, value in plain.state.best_state.items():
        assert torch.equal(value, soup.state.ingredients[0][name])


def test_a_soup_goes_on_where_it_was_interrupted(
    workspace: Workspace, split: Split, tmp_path: Path
) -> None:
    chosen = config(workspace, soup=2, early_stopping_patience=2)
    whole = train_run(chosen, workspace, split, test=True)
    kept: list[Path] = []

    def keep(epoch: int, measures: dict[str, float], checkpoint: Path | None) -> None:
        kept.append(tmp_path / f"{epoch}.pt")
        kept[-1].write_bytes(next(tmp_path.glob("*_last.pt")).read_bytes())

    train_run(
        chosen, workspace, split, test=False, output_dir=tmp_path, standalone=True, on_epoch=keep
    )
    for last in kept[:3]:  # within the first, at its end, within the second
        again = train_run(chosen, workspace, split, test=True, resume_from=last)
        assert again.predictions is not None and whole.predictions is not None
        pd.testing.assert_frame_equal(again.predictions, whole.predictions, check_exact=True)


FLAGS_OF_VERSION_5 = """
    amp antonym_prompts backbone base_init batch_size cache cache_precision curriculum_share
    device dropout early_stopping_min_delta early_stopping_patience ema_decay epochs
    explanation_column freeze_clip freeze_layers fusion_inputs grad_accum_steps image_view
    label_scale_c label_scale_q layer_decay lora_rank lr lr_head matched_direct max_grad_norm
    mos_range_c mos_range_q partial_freeze pretrained probe_share refinement_dim refinement_heads
    refinement_layers residual_learning residual_scale_c residual_scale_q scale_schedule scheduler
    seed selection_metric step_lr_gamma step_lr_step_size strict_residual threads tokenizer
    use_explanations use_refinement use_two_branch w_c w_exp w_plcc w_q w_rank warmup_ratio
    weight_decay wise_ft
""".split()
"""What the hash of a run at its defaults is made of; another list needs another version."""


def test_the_hash_of_a_plain_run_is_made_of_the_flags_of_its_version() -> None:
    assert RESULTS_VERSION == 5
    assert sorted(_determining(RunConfig())) == FLAGS_OF_VERSION_5


def test_a_flag_that_is_younger_leaves_earlier_hashes_alone(
    workspace: Workspace, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = config(workspace)
    before = {n: v for n, v in plain.flat().items() if n not in ("soup", "anchor", "train_only")}
    known = run_identity(plain, workspace, split, "run")
    monkeypatch.setattr(RunConfig, "flat", lambda self: before)
    assert run_identity(plain, workspace, split, "run") == known
    monkeypatch.undo()
    others = [config(workspace, **flags) for flags in ({"soup": 2}, {"anchor": 0.1})]
    assert len({known, *(run_identity(one, workspace, split, "run") for one in others)}) == 3


@pytest.fixture(scope="module")
def batch_normed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    folder = tmp_path_factory.mktemp("configs")
    write_configs(folder)
    open_clip.add_model_config(folder)
    names = {name: BackboneConfig(f"family-{name}", "none") for name in WITH_BATCH_NORMS}
    return {name: load_backbone(one).eval() for name, one in names.items()}


def moved_model(backbone: Backbone) -> QualityModel:
    """A model whose weights and batch statistics have left the start."""
    flags = {"backbone": backbone.blueprint.name, "threads": 1}
    tokenizer = {id(backbone.tokenizer): backbone.tokenizer}
    chosen = resolve(run_config_from_flat(flags), backbone.spec)
    model = QualityModel(copy.deepcopy(backbone, tokenizer), chosen).train()
    optimizer = torch.optim.SGD(model.backbone.parameters(), 0.1)
    for _ in range(3):
        model(batch_of(backbone)).cos.sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def batch_of(backbone: Backbone) -> Batch:
    size = (4, 3, backbone.image_size, backbone.image_size)
    pixels = torch.randint(0, 256, size, generator=torch.Generator().manual_seed(0))
    ids = backbone.tokenize(["one", "two"])
    return Batch(pixels.to(torch.uint8), ids, ids, torch.tensor([0, 1, 0, 1]))


@pytest.mark.parametrize("family", WITH_BATCH_NORMS)
@torch.no_grad()
def test_at_no_per_cent_the_model_is_the_pretrained_one(
    family: str, batch_normed: dict[str, Backbone]
) -> None:
    backbone = batch_normed[family]
    with torch.enable_grad():
        model = moved_model(backbone)
    images = batch_of(backbone).images
    pretrained, end = backbone.encode_images(images), model.backbone.encode_images(images)
    assert float((pretrained * end).sum(dim=1).min()) < 0.999
    seen: list[torch.Tensor] = []

    def measure() -> dict[str, float]:
        seen.append(model.backbone.encode_images(images))
        return {"selection": float(len(seen))}

    interpolate(model, backbone.state_dict(), measure)
    torch.testing.assert_close(seen[PERCENTS.index(0)], pretrained, atol=1e-6, rtol=0)
    torch.testing.assert_close(seen[PERCENTS.index(100)], end, atol=1e-6, rtol=0)


def test_an_average_of_weights_has_the_average_of_their_statistics(
    batch_normed: dict[str, Backbone],
) -> None:
    model = moved_model(batch_normed["resnet"])
    name = "backbone.clip.visual.bn1.running_mean"
    statistics = model.trained_statistics()
    assert name in statistics and not any("num_batches" in one for one in statistics)
    average = WeightAverage(statistics.values(), decay=0.5)
    own = model.get_buffer(name)
    first = own.clone()
    own += 1.0
    average.update()  # the decay of the first step is 2/11
    with average.in_place():
        torch.testing.assert_close(own, first + 9 / 11)
    torch.testing.assert_close(own, first + 1.0)
