"""The look at rated images before training: the summary, and problems by row."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from experiments.check_data import CheckArgs, check
from experiments.floor import FloorArgs, print_floor
from qa_core.backbones.backbone import load_tokenizer
from qa_core.config import BackboneConfig
from qa_core.data.check import image_problems, prompt_problems, summarise
from qa_core.data.tables.csv_table import read_csv_table
from tests.conftest import SHARED_DATA

AGIQA3K = SHARED_DATA / "agiqa3k"


@pytest.fixture
def folder(small_table: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_table.parent, tmp_path / "data")
    return tmp_path / "data"


def test_the_summary_counts_rows_prompts_and_generators(small_table: Path):
    table = read_csv_table(small_table, small_table.parent, (1, 5), (1, 5))
    lines = summarise(table).splitlines()
    assert "rows        24" in lines
    assert "prompts     12 that a split keeps together" in lines
    assert "generators  2: generator 0 12, generator 1 12" in lines
    bars = [line.split() for line in lines if line.strip().split(" ")[0].replace(".", "").isdigit()]
    assert sum(int(bar[3]) for bar in bars) == 48  # every image once in each of two histograms


def test_damaged_and_repeated_files_are_named_by_row(folder: Path):
    paths = sorted(folder.glob("*.png"))[:4]
    paths[1].write_bytes(paths[0].read_bytes()[:60])
    paths[3].write_bytes(paths[2].read_bytes())
    found = image_problems(paths)
    assert [problem.split(":")[0] for problem in found] == ["data row 2", "data row 4"]
    assert "cannot be read" in found[0]
    assert found[1].endswith("is the same file as in data row 3")


def test_long_prompts_are_named_once():
    tokenizer = load_tokenizer(BackboneConfig())
    long = "a red cube " * 40
    found = prompt_problems(["a red cube", long, long], tokenizer)
    assert len(found) == 1 and found[0].startswith("data row 2: the prompt is longer than the")


def test_whole_check_of_good_and_of_wrong_tables(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert check(CheckArgs(data=folder)) == []
    assert capsys.readouterr().out.endswith("no problems\n")
    table = pd.read_csv(folder / "data.csv")
    table["mos_quality"] = table["mos_quality"].astype(object)
    table.loc[2, "mos_quality"] = "good"
    table.loc[5, "name"] = "absent.png"
    table.to_csv(folder / "data.csv", index=False)
    found = check(CheckArgs(data=folder))
    assert ["data row 3" in found[0], "data row 6" in found[1], len(found)] == [True, True, 3]
    assert "3 problems" in capsys.readouterr().out


@pytest.mark.skipif(not AGIQA3K.is_dir(), reason="../shared/data/agiqa3k is absent")
def test_floor_of_agiqa3k_needs_no_images(capsys: pytest.CaptureFixture[str]):
    print_floor(FloorArgs(data=Path("agiqa3k"), data_root=AGIQA3K))
    head, disjoint, random = capsys.readouterr().out.splitlines()
    assert head.startswith("agiqa3k: 2982 images, 300 prompts, 10 kinds of image")
    for line, name, quality, alignment in (
        (disjoint, "prompt-disjoint", 0.72, 0.60),
        (random, "random", 0.77, 0.75),
    ):
        words = line.split()
        assert [words[0], words[1], words[3]] == [name, "quality", "alignment"]
        assert float(words[2]) == pytest.approx(quality, abs=0.015)
        assert float(words[4]) == pytest.approx(alignment, abs=0.015)
