"""The configuration: contradictions and absurd values are refused in a sentence."""

import dataclasses

import pytest

from qa_core.config import RunConfig, run_config_from_flat, with_settings
from qa_core.errors import UserError
from qa_core.settings.data import DataConfig
from qa_core.settings.model import BackboneConfig, FreezeConfig, HeadConfig, RefinementConfig
from qa_core.settings.training import KeepConfig, LossConfig, OptimConfig, TrainConfig
from qa_core.targets import Target


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"freeze_clip": True, "partial_freeze": True}, "one of the two"),
        ({"freeze_layers": 8}, "--partial_freeze"),
        ({"freeze_clip": True, "lr_head": 1e-3}, "--lr_head"),
        ({"partial_freeze": True, "freeze_layers": -1}, "--freeze_layers -1"),
        ({"residual_scale_q": 0.0}, "residual_scale_q"),
        ({"residual_scale_c": 1.5}, "residual_scale_c 1.5"),
        ({"lr": -1e-3}, "--lr"),
        ({"lr": float("nan")}, "--lr"),
        ({"lr": 3.0}, "--lr 3"),
        ({"batch_size": 1}, "--batch_size 1"),
        ({"epochs": 0}, "--epochs 0"),
        ({"refinement_dim": 10, "refinement_heads": 4}, "--refinement_dim 10"),
        ({"w_q": 0.0, "w_c": 0.0}, "nothing would be learnt"),
        ({"fusion_inputs": ("img", "img")}, "twice"),
        ({"mos_range_q": (5.0, 1.0)}, "LOW below HIGH"),
        ({"mos_range_q": (1.0, 5.0), "label_scale_q": 5.0}, "same thing"),
        ({"image_base_dir": "pictures"}, "--data_csv_path"),
        ({"freeze_layer": 8}, "freeze_layer"),
    ],
)
def test_bad_settings_are_refused_by_name(flags: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        run_config_from_flat(flags)


def test_flag_names_are_unique_across_parts() -> None:
    parts = (
        BackboneConfig, FreezeConfig, HeadConfig, RefinementConfig,
        LossConfig, OptimConfig, KeepConfig, TrainConfig, DataConfig,
    )  # fmt: skip
    names = [item.name for part in parts for item in dataclasses.fields(part)]
    assert len(names) == len(set(names)) == len(RunConfig().flat())


def test_flat_and_back_is_the_same_configuration() -> None:
    config = run_config_from_flat({"lr": 1e-4, "fusion_inputs": ["img", "product"], "seed": 3})
    assert run_config_from_flat(config.flat()) == config
    assert config.head.fusion_inputs == ("img", "product")
    assert with_settings(config, seed=4).train.seed == 4
    assert with_settings(config, seed=4).optim.lr == 1e-4


def test_label_scale_is_a_range_from_zero() -> None:
    assert DataConfig(label_scale_q=5.0).nominal_range(Target.QUALITY) == (0.0, 5.0)
    assert DataConfig(mos_range_c=(1.0, 5.0)).nominal_range(Target.CONSISTENCY) == (1.0, 5.0)
    assert DataConfig().nominal_range(Target.QUALITY) is None
