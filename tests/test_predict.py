"""The command that scores one's own images: what it takes, what it writes, what it passes over."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.cli.contact_sheet import ScoredImage
from experiments.predict import Extremes, PredictArgs, predict, read_pairs
from qa_core.errors import UserError
from tests.test_scorer import checkpoint, workspace  # noqa: F401


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("b.png", "a.jpg", "sub/c.png")):
        pixels = np.full((20, 30, 3), 80 * number, np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / "broken.png").write_text("no image either")
    return folder


def test_csv_and_sheet_hold_what_could_be_read(
    checkpoint: Path,  # noqa: F811
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "prompts.txt").write_text("a <b>bold</b> cat\n")
    out, sheet = tmp_path / "new" / "scores.csv", tmp_path / "sheet.html"
    predict(PredictArgs(checkpoint, str(folder), tmp_path / "prompts.txt", out, sheet))
    rows = list(csv.DictReader(out.open()))
    assert [Path(row["image"]).name for row in rows] == ["a.jpg", "b.png", "c.png"]
    assert all(0 <= float(row["q"]) <= 1 and 1 <= float(row["q_mos"]) <= 5 for row in rows)
    shown = capsys.readouterr()
    assert "3 images scored, 1 unreadable" in shown.out and "broken.png" in shown.err
    page = sheet.read_text()
    best = sorted(rows, key=lambda row: -float(row["q"]))
    places = [page.index(Path(row["image"]).name) for row in best]
    assert places == sorted(places)
    assert page.count("data:image/jpeg;base64,") == 3
    assert "<b>bold</b>" not in page and "1 could not be read" in page


def names(pairs) -> list[tuple[str, str]]:
    return [(path.name, prompt) for path, prompt in pairs]


def test_prompts_come_from_a_table_a_list_or_beside_the_paths(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (folder / "broken.png").unlink()
    expected = [("a.jpg", "A"), ("b.png", "B"), ("c.png", "C")]
    (tmp_path / "p.csv").write_text("name,prompt\nsub/c.png,C\nb.png,B\na.jpg,A\n")
    assert names(read_pairs(str(folder), tmp_path / "p.csv")) == expected
    (tmp_path / "p.txt").write_text("A\nB\nC\n")
    assert names(read_pairs(str(folder), tmp_path / "p.txt")) == expected
    paths = [folder / "a.jpg", folder / "b.png", folder / "sub" / "c.png"]
    lines = [f"{path}\t{prompt}\n" for path, prompt in zip(paths, "ABC", strict=True)]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(lines)))
    assert names(read_pairs("-", None)) == expected
    (tmp_path / "list.txt").write_text("".join(line.split("\t")[0] + "\n" for line in lines))
    assert names(read_pairs(str(tmp_path / "list.txt"), tmp_path / "p.csv")) == expected


def test_what_does_not_go_together_is_said(folder: Path, tmp_path: Path):
    (tmp_path / "two.txt").write_text("A\nB\n")
    (tmp_path / "p.csv").write_text("name,prompt\na.jpg,A\n")
    (tmp_path / "bad.csv").write_text("picture,words\na.jpg,A\n")
    (tmp_path / "list.txt").write_text("a.jpg\n")
    for images, prompts, message in (
        (folder, tmp_path / "two.txt", "has 2 prompts, but there are not as many images"),
        (folder, tmp_path / "p.csv", "has no prompt for .*b.png"),
        (folder, tmp_path / "bad.csv", "has the columns picture, words; it needs name"),
        (folder, tmp_path / "none.txt", "no file of prompts"),
        (folder, None, "say what was asked for by --prompts"),
        (tmp_path / "list.txt", None, "line 1 has no tab"),
        (tmp_path / "nowhere", None, "no folder or list"),
    ):
        with pytest.raises(UserError, match=message):
            list(read_pairs(str(images), prompts))


def test_the_sheet_keeps_the_highest_and_the_lowest():
    kept = Extremes(5)
    scores = np.random.default_rng(0).permutation(100).tolist()
    for score in scores:
        kept.add(score, ScoredImage(Path(f"{score}.png"), "", {"q": score}))
    assert [image.scores["q"] for image in kept.ordered()] == [99, 98, 97, 1, 0]
    few = Extremes(400)
    for score in (3, 1, 2):
        few.add(score, ScoredImage(Path(f"{score}.png"), "", {"q": score}))
    assert [image.scores["q"] for image in few.ordered()] == [3, 2, 1]
