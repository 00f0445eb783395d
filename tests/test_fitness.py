"""What is said of a backbone that does not fit its data."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import write_table

from experiments.cli.panel import configuration_panel
from qa_core.config import run_config_from_flat
from qa_core.features.fitness import fitness
from qa_core.features.workspace import Workspace
from qa_core.modes import resolve


def notes_on(tmp_path: Path, **flags: object) -> list[str]:
    config = run_config_from_flat(flags)
    return fitness(config, Workspace.open(config, tmp_path / "cache", n_replicates=1))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = write_table(tmp_path)
    frame: Any = pd.read_csv(path)
    long = frame["prompt"].isin(frame["prompt"].unique()[:3])
    frame.loc[long, "prompt"] += " and a very long tail" * 30
    frame.to_csv(path, index=False)
    return path


RANGES = {"mos_range_q": (1.0, 5.0), "mos_range_c": (1.0, 5.0)}


def test_the_embedded_benchmark_fits_the_embedded_backbone(tmp_path: Path) -> None:
    assert notes_on(tmp_path) == []


def test_ones_own_images_do_not_and_cut_prompts_are_counted(tmp_path: Path, table: Path) -> None:
    tiny, cut = notes_on(tmp_path, data_csv_path=str(table), **RANGES)
    assert "48 x 48 pixels" in tiny and "never saw a photograph" in tiny
    assert cut == (
        "3 of 12 prompts are longer than the 40 tokens that the text tower reads, and are cut."
    )


def test_random_weights_say_nothing_about_clip(
    tmp_path: Path, table: Path, narrow_models: None
) -> None:
    flags = {"backbone": "narrow-3", "pretrained": "none", "data_csv_path": str(table)}
    random, cut = notes_on(tmp_path, **flags, **RANGES)
    assert random == "The backbone has random weights: nothing here says anything about CLIP."
    assert "prompts are longer" in cut


def test_the_panel_of_a_run_says_it(tmp_path: Path, table: Path) -> None:
    given = run_config_from_flat({"data_csv_path": str(table), "freeze_clip": True, **RANGES})
    workspace = Workspace.open(given, tmp_path / "cache")
    config = resolve(given, workspace.spec)
    notes = fitness(config, workspace)
    panel = configuration_panel(config, workspace.spec, workspace.table, notes)
    assert all(note in panel for note in notes) and "window in the middle" in panel
