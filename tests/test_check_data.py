"""The look at rated images before training: the summary, and problems by row."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from experiments.check_data import CheckArgs, check
from experiments.floor import FloorArgs, print_floor
from qa_core.backbones.backbone import load_tokenizer
from qa_core.data.check import copy_notes, image_findings, prompt_notes, summarise
from qa_core.data.findings import Finding, told
from qa_core.data.tables.csv_table import read_csv_table
from qa_core.settings.model import BackboneConfig
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
    counts = [line.split()[-10:] for line in lines if "by tenth" in line]
    assert [sum(map(int, each)) for each in counts] == [24, 24]


def test_damaged_and_repeated_files_are_named_by_row(folder: Path):
    paths = sorted(folder.glob("*.png"))[:4]
    paths[1].write_bytes(paths[0].read_bytes()[:60])
    paths[3].write_bytes(paths[2].read_bytes())
    problems, notes = image_findings(paths)
    assert [problem.text.split(":")[0] for problem in problems] == ["data row 2"]
    assert "cannot be read" in problems[0].text and notes == []
    (copy,) = copy_notes(paths)
    assert copy.text.startswith("data row 4") and "same file as in data row 3" in copy.text


def test_long_prompts_are_named_once():
    tokenizer = load_tokenizer(BackboneConfig())
    long = "a red cube " * 40
    found = prompt_notes(["a red cube", long, long], tokenizer)
    assert len(found) == 1 and found[0].text.startswith("data row 2: the prompt is longer than")


def test_whole_check_of_good_and_of_wrong_tables(folder: Path, capsys: pytest.CaptureFixture[str]):
    problems, notes = check(CheckArgs(data=folder))
    assert problems == [] and all("is read on the scale" in note.text for note in notes)
    assert capsys.readouterr().out.endswith("no problems, 2 notes\n")
    table = pd.read_csv(folder / "data.csv")
    table["mos_quality"] = table["mos_quality"].astype(object)
    table.loc[2, "mos_quality"] = "good"
    table.loc[5, "name"] = "absent.png"
    table.to_csv(folder / "data.csv", index=False)
    problems, _ = check(CheckArgs(data=folder))
    assert [p.text.split(", ")[1][:10] for p in problems] == ["data row 3", "data row 6"]
    assert "2 problems" in capsys.readouterr().out


def test_repeated_findings_are_counted_and_the_first_three_told():
    found = [Finding("x", f"row {k}") for k in range(7)] + [Finding("y", "another")]
    assert told(found) == [
        *("row 0", "row 1", "row 2"),
        *("… and 4 more like this, 7 in all", "another"),
    ]


@pytest.mark.skipif(not AGIQA3K.is_dir(), reason="../shared/data/agiqa3k is absent")
@pytest.mark.parametrize("by_table", [False, True])
def test_agiqa3k_is_sound_and_its_summary_fits_a_screen(
    by_table: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("qa_core.data.check._try_image", lambda path: (None, None))  # time
    named = CheckArgs(table=AGIQA3K / "data.csv") if by_table else None
    problems, notes = check(named or CheckArgs(data=Path("AGIQA-3K"), data_root=AGIQA3K))
    text = capsys.readouterr().out
    assert problems == [] and len(text.splitlines()) <= 24
    assert sum("same file as in" in note.text for note in notes) == 10
    assert ("generator=name" in text) == by_table


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
