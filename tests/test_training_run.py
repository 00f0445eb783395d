"""Whole runs on a narrow backbone: determinism, caches, resume, and what a run reports."""

import re
import resource
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from qa_core.backbones.tower import FROM_RAW
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.data.splits import Split
from qa_core.errors import UserError, in_words
from qa_core.features.workspace import Workspace
from qa_core.measures.alignment import alignment_retention, shuffled_pairs
from qa_core.model.checkpoint import load_model, read_checkpoint, save_checkpoint
from qa_core.model.quality_model import QualityModel
from qa_core.modes import resolve
from qa_core.targets import TARGETS, Target
from qa_core.training import run_checkpoints, trainer
from qa_core.training.identity import run_identity
from qa_core.training.retention import measure_retention
from qa_core.training.trainer import TrainingDiverged, predict
from qa_core.training.trainer_state import TrainerState
from qa_core.training.training_run import RunResult, fit_bases, prepare_run, train_run

TIMES = ("wall_s", "seconds_per_epoch", "peak_memory_mb")


@pytest.fixture(scope="module")
def uncached(small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The same data with every cache off; nothing may be written."""
    flags = {"backbone": "narrow-3", "pretrained": "none", "data_csv_path": str(small_table)}
    folder = tmp_path_factory.mktemp("nothing")
    yield Workspace.open(run_config_from_flat(flags | {"cache": False}), folder)
    assert not list(folder.iterdir())


def config(workspace: Workspace, **flags: Any) -> RunConfig:
    defaults = {"backbone": "narrow-3", "pretrained": "none", "epochs": 2, "batch_size": 8}
    flags = defaults | {"threads": 1, "lr_head": None} | flags
    return resolve(run_config_from_flat(flags), workspace.spec)


def run(workspace: Workspace, split: Split, **flags: Any) -> RunResult:
    return train_run(config(workspace, **flags), workspace, split, test=True)


def comparable(result: RunResult) -> dict[str, float]:
    return {name: value for name, value in result.metrics.items() if name not in TIMES}


MODES = [{}, {"residual_learning": False}, {"partial_freeze": True}, {"freeze_clip": True}]


@pytest.mark.parametrize("flags", MODES, ids=str)
def test_same_seed_same_digits_and_another_seed_others(
    workspace: Workspace, split: Split, flags: dict
) -> None:
    first, again = run(workspace, split, **flags), run(workspace, split, **flags)
    assert comparable(first) == comparable(again)
    assert first.predictions is not None and again.predictions is not None
    assert first.predictions.equals(again.predictions)
    other = run(workspace, split, **flags, seed=1)
    assert other.predictions is not None
    assert not np.array_equal(first.predictions["q"], other.predictions["q"])


@pytest.mark.parametrize("flags", MODES, ids=str)
def test_no_cache_changes_anything_that_matters(
    workspace: Workspace, uncached: Workspace, split: Split, flags: dict
) -> None:
    plain = run(uncached, split, **flags, cache=False)
    for precision, tolerance in (("full", 1e-4), ("half", 5e-3)):
        cached = run(workspace, split, **flags, cache_precision=precision)
        assert cached.predictions is not None and plain.predictions is not None
        for score in ("q", "c"):
            np.testing.assert_allclose(
                cached.predictions[score], plain.predictions[score], atol=tolerance
            )
        if precision == "full":
            for name in ("test_srocc_quality", "test_srocc_consistency", "alignment_retention"):
                assert cached.metrics[name] == pytest.approx(plain.metrics[name], abs=1e-4)


def test_bfloat16_on_cpu_is_another_run_with_nearly_the_same_scores(
    workspace: Workspace, split: Split
) -> None:
    plain, other = (run(workspace, split, amp_on_cpu=amp) for amp in (False, True))
    assert plain.predictions is not None and other.predictions is not None
    assert not np.array_equal(plain.predictions["q"], other.predictions["q"])
    np.testing.assert_allclose(other.predictions["q"], plain.predictions["q"], atol=0.02)
    chosen = [config(workspace, amp_on_cpu=amp) for amp in (False, True)]
    assert len({run_identity(one, workspace, split, "run") for one in chosen}) == 2


def test_a_run_whose_activations_exceed_the_budget_goes_on_without(
    workspace: Workspace, split: Split
) -> None:
    small = {"partial_freeze": True, "freeze_layers": 2, "cache_gb": 1e-5}
    assert workspace.entry(config(workspace, **small)) == FROM_RAW
    kept = config(workspace, **small | {"cache_gb": 1.0})
    assert workspace.entry(kept) != FROM_RAW
    within = run_identity(kept, workspace, split, "run")
    roomier = config(workspace, **small | {"cache_gb": 2.0})
    assert within == run_identity(roomier, workspace, split, "run")
    assert within != run_identity(config(workspace, **small), workspace, split, "run")
    assert run(workspace, split, **small).metrics["epochs_run"] == 2


def test_a_run_reports_what_its_mode_has(workspace: Workspace, split: Split) -> None:
    residual = run(workspace, split)
    for target in ("quality", "consistency"):
        for name in ("test_srocc", "test_delta_saturation", "train_val_gap_best", "best_val_srocc"):
            assert f"{name}_{target}" in residual.metrics
    assert len(residual.history) == 3 and "loss" not in residual.history[0]
    direct = run(workspace, split, residual_learning=False)
    assert not any("saturation" in name for name in direct.metrics)
    probe = run(workspace, split, freeze_clip=True)
    assert probe.metrics["alignment_retention"] == 1.0
    assert probe.metrics["trainable_parameters"] < residual.metrics["trainable_parameters"]
    assert residual.metrics["alignment_retention"] < 1.0


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"partial_freeze": True},
        {"partial_freeze": True, "cache_precision": "half"},
        {"antonym_prompts": True},
        {"lora_rank": 2},
    ],
    ids=str,
)
def test_retention_is_that_of_both_whole_towers(
    workspace: Workspace, split: Split, flags: dict
) -> None:
    chosen = config(workspace, **flags)
    model, _ = prepare_run(chosen, workspace, split)
    with torch.no_grad():
        for number, weight in enumerate(p for p in model.parameters() if p.requires_grad):
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(number))
            weight.add_(0.05 * noise)
    found, _ = measure_retention(model, chosen, workspace, split)
    prompts = workspace.table.frame["prompt"].to_numpy(str)[split.test]
    shuffled = shuffled_pairs(prompts, 0)
    cosines = []
    for backbone in (model.backbone.eval(), workspace.backbone):
        with torch.inference_mode():
            image = backbone.encode_images(torch.from_numpy(workspace.images[split.test].copy()))
            text = backbone.encode_texts(backbone.tokenize(prompts.tolist()))
        cosines += [(image * text).sum(1), (image * text[torch.from_numpy(shuffled)]).sum(1)]
    after, after_shuffled, before, before_shuffled = cosines
    plain = alignment_retention(after, before, after_shuffled, before_shuffled)
    assert found["alignment_retention"] == pytest.approx(plain.mean, abs=1e-6)
    assert found["alignment_retention"] < 0.999


def test_test_part_is_not_read_unless_asked(workspace: Workspace, split: Split) -> None:
    result = train_run(config(workspace), workspace, split, test=False)
    assert result.predictions is None
    assert not any(name.startswith("test_") for name in result.metrics)


def test_resume_equals_an_undisturbed_run(
    workspace: Workspace, split: Split, tmp_path: Path
) -> None:
    chosen = config(workspace, epochs=3)
    whole = train_run(chosen, workspace, split, test=True)

    def stop_after_two(epoch: int, _: dict, __: Path | None) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(
            chosen, workspace, split, test=True, output_dir=tmp_path, on_epoch=stop_after_two,
            standalone=True,
        )  # fmt: skip
    last = tmp_path / "baseline_residual_last.pt"
    resumed = train_run(chosen, workspace, split, test=True, resume_from=last)
    assert comparable(resumed) == comparable(whole)
    assert resumed.predictions is not None
    assert resumed.predictions.equals(whole.predictions)
    elsewhere = tmp_path / "elsewhere"
    train_run(chosen, workspace, split, test=False, resume_from=last, output_dir=elsewhere)
    best = read_checkpoint(elsewhere / "baseline_residual_best.pt")
    assert best["epoch"] == whole.best_epoch
    with pytest.raises(UserError, match="another run"):
        train_run(config(workspace, seed=5), workspace, split, test=False, resume_from=last)


def test_large_files_are_written_now_and_then_and_go_on_exactly(
    workspace: Workspace, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_checkpoints, "CHEAP_S", 0.0)
    monkeypatch.setattr(run_checkpoints, "SHARE", 1e-9)  # as if each file took minutes
    chosen = config(workspace, epochs=3)
    saved: list[Path | None] = []
    whole = train_run(
        chosen, workspace, split, test=True, output_dir=tmp_path, standalone=True,
        on_epoch=lambda epoch, measures, path: saved.append(path),
    )  # fmt: skip
    assert saved[0] is not None and saved[1:] == [None, None]
    last = tmp_path / "baseline_residual_last.pt"
    assert read_checkpoint(last)["progress"]["epoch"] == 1
    best = read_checkpoint(tmp_path / "baseline_residual_best.pt")
    assert best["epoch"] == whole.best_epoch
    resumed = train_run(chosen, workspace, split, test=True, resume_from=last)
    assert comparable(resumed) == comparable(whole)


@pytest.mark.parametrize("standalone", [True, False])
def test_a_checkpoint_scores_the_same_after_reload(
    workspace: Workspace, split: Split, tmp_path: Path, standalone: bool
) -> None:
    backbone = tmp_path / "narrow.pt"
    torch.save(workspace.backbone.clip.state_dict(), backbone)
    chosen = config(workspace, partial_freeze=True, freeze_layers=2, pretrained=str(backbone))
    result = train_run(
        chosen, workspace, split, test=True, output_dir=tmp_path, standalone=standalone
    )
    assert result.checkpoint is not None
    assert result.checkpoint.name == "baseline_residual_partial_freeze_2L_best.pt"
    model, content = load_model(result.checkpoint)
    scores = predict(model, workspace.features(chosen), split.test, "cpu")
    assert result.predictions is not None
    np.testing.assert_array_equal(scores["q"], result.predictions["q"])
    np.testing.assert_array_equal(scores["c"], result.predictions["c"])
    assert content["range_quality"] == workspace.table.range_quality


def test_early_stopping_and_accumulation(workspace: Workspace, split: Split) -> None:
    stopped = run(workspace, split, epochs=30, early_stopping_patience=2, lr=1e-6, lr_head=1e-6)
    assert stopped.metrics["epochs_run"] == stopped.best_epoch + 2 < 30
    whole = run(workspace, split, batch_size=8, dropout=0.0, max_grad_norm=0.0)
    halves = run(workspace, split, batch_size=4, grad_accum_steps=2, dropout=0.0, max_grad_norm=0.0)
    assert whole.predictions is not None and halves.predictions is not None
    np.testing.assert_allclose(whole.predictions["q"], halves.predictions["q"], atol=1e-4)


def test_divergence_is_named(workspace: Workspace, split: Split, tmp_path: Path) -> None:
    broken = workspace.subset(np.arange(len(workspace.table.frame)))
    frame = broken.table.frame
    frame.loc[split.train[:4], "mos_quality"] = np.inf
    with pytest.raises(TrainingDiverged, match=r"epoch 1.*--lr"):
        train_run(config(workspace), broken, split, test=False, output_dir=tmp_path)


class ReadBack(TorchDispatchMode):
    """Counts operations for which a processor waits for its GPU: a value, or a size to be known."""

    count = 0
    ops = torch.ops.aten
    waits = (ops._local_scalar_dense, ops.nonzero, ops.masked_select, ops.equal, ops._unique2)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        chosen = args[1] if func.overloadpacket == self.ops.index else ()
        by_mask = any(one is not None and one.dtype == torch.bool for one in chosen)
        self.count += by_mask or func.overloadpacket in self.waits
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("flags", [{}, {"freeze_clip": True}, {"ema_decay": 0.9, "anchor": 1.0}])
def test_no_step_waits_for_a_value(workspace: Workspace, split: Split, flags: dict) -> None:
    _, prepared = prepare_run(config(workspace, batch_size=4, **flags), workspace, split)
    prepared.model.train()
    with ReadBack() as read:
        for micro_batches in prepared._steps(1):
            prepared._step(micro_batches)
        assert read.count == 0
        ones = torch.ones(3)
        assert len(ones[ones > 0]) == 3 and ones.sum().item() == 3 and torch.equal(ones, ones)
    assert read.count == 3


def test_base_fit_starts_at_the_data(workspace: Workspace, split: Split) -> None:
    chosen = config(workspace, base_init="fit")
    model = QualityModel(workspace.fresh_backbone(chosen), chosen)
    mos = {name: workspace.table.frame[f"mos_{name}"].to_numpy() for name in TARGETS}
    fit_bases(model, workspace, mos, split.train)
    scores = predict(model, workspace.features(config(workspace, cache=False)), split.train, "cpu")
    least_squares = np.polyfit(scores["cos"], mos[Target.CONSISTENCY][split.train], 1)
    np.testing.assert_allclose(
        scores["c_base"], np.polyval(least_squares, scores["cos"]), atol=1e-4
    )


@pytest.mark.parametrize(
    "flags",
    [
        {"use_explanations": True},
        {"residual_learning": False, "use_refinement": True, "refinement_dim": 16},
        {"residual_learning": False, "use_two_branch": True},
        {"scale_schedule": "learnable"},
        {"scale_schedule": "curriculum"},
        {"fusion_inputs": ("img", "txt", "cos", "product"), "w_plcc": 0.5, "w_rank": 0.5},
    ],
    ids=str,
)
def test_every_option_trains(workspace: Workspace, split: Split, flags: dict) -> None:
    result = run(workspace, split, **flags)
    assert result.metrics["epochs_run"] == 2
    assert np.isfinite(result.history[-1]["loss"])


def test_explanations_need_their_column(workspace: Workspace, split: Split) -> None:
    bare = workspace.subset(np.arange(len(workspace.table.frame)))
    del bare.table.frame["explanation"]
    with pytest.raises(UserError, match="reasons"):
        run(bare, split, use_explanations=True, explanation_column="reasons")


def test_damaged_and_malicious_checkpoints_are_refused(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "touched",))

    path = tmp_path / "bad.pt"
    torch.save({"format": 1, "state": Malicious()}, path)
    with pytest.raises(UserError, match="refused"):
        read_checkpoint(path)
    assert not (tmp_path / "touched").exists()
    save_checkpoint(path, {"state": {}})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        read_checkpoint(path)
    with pytest.raises(UserError, match="no checkpoint"):
        read_checkpoint(tmp_path / "absent.pt")
    save_checkpoint(path, {"state": {"weight": torch.ones(3)}})
    marked = bytearray(path.read_bytes())
    marked[marked.rindex(b"archive/data/0") - 8] = 0x10  # a folder, by the directory of the file
    path.write_bytes(marked)
    with pytest.raises(UserError, match="damaged"):
        read_checkpoint(path)


def test_what_was_good_stays_after_divergence(
    workspace: Workspace, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(epoch: int, _: dict, __: Path | None) -> None:
        if epoch == 2:
            nothing = torch.tensor(np.nan, requires_grad=True)
            monkeypatch.setattr(trainer, "total_loss", lambda *_: (nothing, {}))

    with pytest.raises(TrainingDiverged, match=r"epoch 3.*Kept: .*epoch [12]\) .*epoch 2\) "):
        train_run(
            config(workspace, epochs=4), workspace, split, test=False, output_dir=tmp_path,
            on_epoch=spoil, standalone=True,
        )  # fmt: skip
    assert read_checkpoint(tmp_path / "baseline_residual_last.pt")["progress"]["epoch"] == 2
    load_model(tmp_path / "baseline_residual_best.pt")


def test_scores_that_are_no_numbers_end_the_run(workspace: Workspace, split: Split) -> None:
    def spoil(done: int, total: int) -> None:
        if done == total:  # the last step of all: no later loss would tell
            model.heads.get_parameter("q_base_head.bias").data.fill_(np.nan)

    model, prepared = prepare_run(config(workspace), workspace, split)
    with pytest.raises(TrainingDiverged, match="scores are no longer numbers after epoch 2"):
        prepared.fit(on_step=spoil)


@pytest.mark.parametrize(
    "change",
    [
        {"state": {"nothing": torch.zeros(1)}},
        {"state": {}},
        {"state": [1]},
        {"whole": "yes"},
        {"config": {"epochs": "many"}},
        {"config": {"backbone": "narrow-24", "pretrained": "none"}},
        {"pixel_mean": [1.0]},
        {"range_quality": (5.0, 1.0)},
        {"range_quality": ("1", "5")},
        {"nan": True},
    ],
    ids=str,
)
def test_a_checkpoint_that_is_not_whole_is_refused(
    workspace: Workspace, tmp_path: Path, change: dict[str, Any]
) -> None:
    path, model = tmp_path / "x.pt", QualityModel(workspace.backbone, config(workspace))
    content = run_checkpoints.describe(config(workspace), workspace, model, whole=True)
    if change.pop("nan", False):
        model.heads.get_parameter("q_base_head.bias").data.fill_(np.nan)
    save_checkpoint(path, content | change)
    with pytest.raises(UserError, match=re.escape(str(path))):
        load_model(path)


def test_a_flipped_bit_and_compressed_parts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    save_checkpoint(path, {"state": {"weights": torch.ones(1000)}})
    raw = bytearray(path.read_bytes())
    raw[raw.index(np.float32(1).tobytes() * 10)] ^= 1
    path.write_bytes(raw)
    assert torch.load(path, weights_only=True)["state"]["weights"].max() > 1  # torch loads it
    with pytest.raises(UserError, match="damaged"):
        read_checkpoint(path)
    save_checkpoint(path, {"state": {}})
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "y.pt", "w", 8) as small:
        for part in whole.infolist():
            small.writestr(part.filename, whole.read(part))
    with pytest.raises(UserError, match="damaged"):
        read_checkpoint(tmp_path / "y.pt")


def test_a_full_disk_is_named_and_nothing_half_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    save_checkpoint(path, {"state": {"weights": torch.ones(10)}})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="No space left") as caught:
            save_checkpoint(path, {"state": {"weights": torch.ones(100_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(path) in str(in_words(caught.value))
    assert [*tmp_path.iterdir()] == [path] and path.read_bytes() == before


def test_the_best_epoch_is_the_best_and_patience_waits_for_a_clear_rise() -> None:
    state = TrainerState()
    values = (0.5, 0.505, 0.52, 0.515)
    kept = [state.record({"selection": value}, 0.01, dict) for value in values]
    assert kept == [True, True, True, False]
    assert (state.best_epoch, state.best_selection) == (3, 0.52)
    assert (state.improved_epoch, state.improved_selection) == (3, 0.52)
    state.record({"selection": 0.525}, 0.01, dict)
    assert (state.best_epoch, state.improved_epoch) == (5, 3)
