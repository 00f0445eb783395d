"""Whatever determines results and has changed since: the folder that holds the old ones refuses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_table
from PIL import Image

from qa_core.config import run_config_from_flat, with_settings
from qa_core.errors import UserError
from qa_core.records.schema import Param
from qa_core.records.tracking import as_text
from studies.context import Setup, open_workspace
from studies.parent_runs import ablation_params, refuse_changes
from studies.profiles import PROFILES


def params_of(setup: Setup) -> dict[str, Any]:
    workspace, plan = open_workspace(setup)
    return ablation_params("smoke", PROFILES["smoke"], setup.base, workspace, plan, 1)


def brighten_an_image(setup: Setup) -> Setup:
    (file,) = Path(str(setup.base.data.data_csv_path)).parent.glob("p00_0.png")
    pixels = np.asarray(Image.open(file)).astype(int)
    Image.fromarray((pixels + 40).clip(0, 255).astype(np.uint8)).save(file)
    return setup


def raise_a_rating(setup: Setup) -> Setup:
    table = Path(str(setup.base.data.data_csv_path))
    lines = table.read_text().splitlines()
    cells = lines[1].split(",")
    cells[3] = "4.99"
    table.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    return setup


def halve_precision(setup: Setup) -> Setup:
    return replace(setup, base=with_settings(setup.base, cache_precision="half"))


def train_in_bfloat16(setup: Setup) -> Setup:
    return replace(setup, base=with_settings(setup.base, amp_on_cpu=True))


def take_other_weights(setup: Setup) -> Setup:
    return replace(setup, base=with_settings(setup.base, pretrained="default"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (brighten_an_image, "the images ("),
        (raise_a_rating, "the data's contents ("),
        (halve_precision, "CACHE_PRECISION (full there, half now)"),
        (train_in_bfloat16, "AMP_ON_CPU (False there, True now)"),
        (take_other_weights, "the backbone's weights ("),
    ],
)
def test_a_changed_input_is_named(
    change: Callable[[Setup], Setup], words: str, tmp_path: Path
) -> None:
    flags = {"data_csv_path": str(write_table(tmp_path)), "pretrained": "none", "epochs": 2,
             "threads": 1}  # fmt: skip
    setup = Setup(run_config_from_flat(flags), tmp_path / "cache", "honest", 0, 2, None)
    there = {name: as_text(value) for name, value in params_of(setup).items()}
    del there[Param.AMP_ON_CPU]  # as earlier versions
    refuse_changes(there, params_of(setup), "runs/a")
    with pytest.raises(UserError) as refusal:
        refuse_changes(there, params_of(change(setup)), "runs/a")
    assert words in str(refusal.value)
