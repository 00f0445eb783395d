"""Inputs that once failed, by their own files; their kinds are tested where they belong."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from open_clip.model import CLIP
from report_fixture import Made, make_ablation
from scipy.stats import spearmanr

from qa_core.backbones.backbone import load_backbone
from qa_core.settings.model import BackboneConfig
from reports.evidence.load import load_ablation
from reports.evidence.others import with_predictions

CASES = Path(__file__).parents[2] / "shared" / "cases"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")


def test_a_folder_whose_only_weights_end_in_pt_is_loaded(tmp_path: Path) -> None:
    folder = shutil.copytree(CASES / "03-folder-with-pt", tmp_path / "folder")
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    state = CLIP(**config).state_dict()
    torch.save(state, folder / "open_clip_pytorch_model.pt")
    loaded = load_backbone(BackboneConfig(str(folder))).clip.state_dict()
    assert loaded.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(loaded[name], value, atol=0, rtol=0)


def test_predictions_meet_images_of_one_name_in_several_folders(tmp_path: Path) -> None:
    file = CASES / "13-predictions-subfolders" / "theirs.csv"
    theirs = pd.read_csv(file)
    make_ablation(tmp_path, Made(n_splits=1, n_trials=0, modes=("residual",)))
    ablation = load_ablation(f"sqlite:///{tmp_path}/mlflow.db")
    kept = ablation.predictions.drop_duplicates(["split", "row"]).head(len(theirs))
    names = [image.removeprefix("/data/pictures/") for image in theirs["image"]]
    shuffled = np.random.default_rng(1).permutation(len(names))
    predictions = kept.assign(name=[names[k] for k in shuffled], setting="guide")
    found = with_predictions(
        dataclasses.replace(ablation, predictions=predictions), "other", file
    ).references.iloc[-1]
    expected = spearmanr(theirs["q"].to_numpy()[shuffled], predictions["mos_quality"])
    assert found["test_srocc_quality"] == pytest.approx(np.asarray(expected)[0])
