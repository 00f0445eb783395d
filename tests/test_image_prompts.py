"""Prompts meet images by path: the right pair, or a sentence."""

import csv
import io
import json
import os
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from experiments.cli.image_prompts import read_pairs
from experiments.predict import PredictArgs, _beside, predict
from qa_core.data.path_match import PathMatch
from qa_core.errors import UserError
from qa_core.model.checkpoint import read_checkpoint, save_checkpoint
from tests.test_scorer import checkpoint, workspace  # noqa: F401

CASES = Path(__file__).parents[2] / "shared" / "cases"


@pytest.fixture
def pics(tmp_path: Path) -> Path:
    folder = tmp_path / "pics"
    for name in ("a.png", "sub/a.png", "b.jfif", ".hidden/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name, "JPEG")
    (folder / "._a.png").write_bytes(b"\0")
    (folder / "photo.heic").write_bytes(b"no format of ours")
    return folder


def paired(pics: Path, prompts: Path) -> dict[str, str]:
    pairs = read_pairs(str(pics), prompts)
    return {path.relative_to(pics).as_posix(): text for path, text in pairs}


RIGHT = {"a.png": "a red square", "sub/a.png": "a blue dog", "b.jfif": "c"}


@pytest.mark.parametrize(
    "names",
    [
        ("a.png", "sub\\a.png", "b.jfif"),
        ("./a.png", "sub/a.png", "b.jfif"),
        ("pics/a.png", "pics/sub/a.png", "pics/b.jfif"),
        ("C:\\all\\pics\\a.png", "C:\\all\\pics\\sub\\a.png", "C:\\all\\pics\\b.jfif"),
    ],
)
@pytest.mark.parametrize("kind", [".csv", ".tsv", ".txt"])
def test_each_image_gets_its_own_prompt(
    pics: Path, tmp_path: Path, names: tuple[str, ...], kind: str
):
    prompts = tmp_path / f"prompts{kind}"
    rows = list(zip(names, RIGHT.values(), strict=True))[::-1]
    between = "," if kind == ".csv" else "\t"
    lines = [between.join(("name", "prompt"))] * (kind != ".txt")
    prompts.write_text("\n".join([*lines, *(between.join(row) for row in rows), "", ""]))
    assert paired(pics, prompts) == RIGHT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.png,x\na.png,y\nsub/a.png,z\nb.jfif,c", "a.png twice, in data rows 1 and 2"),
        ("sub/a.png,x\nsub\\a.png,y\na.png,z", "twice, in data rows 1 and 2"),
        ("a.png,x\nb.jfif,c", "a.png fits both a.png and sub/a.png"),
        ("sub/a.png,x\nb.jfif,c", "sub/a.png fits both a.png and sub/a.png"),
        ("x/a.png,x\ny/a.png,y\nb.jfif,c", "both x/a.png and y/a.png may be a.png"),
    ],
)
def test_what_could_be_either_is_a_sentence(pics: Path, tmp_path: Path, content: str, message: str):
    prompts = tmp_path / "prompts.csv"
    prompts.write_text(f"name,prompt\n{content}\n")
    with pytest.raises(UserError, match=message):
        paired(pics, prompts)


def test_what_is_named_and_not_scored_is_said(
    pics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    prompts = tmp_path / "prompts.csv"
    names = ("a.png", "sub/a.png", "b.jfif", "gone.png")
    prompts.write_text("name,prompt\n" + "".join(f"{name},x\n" for name in names))
    assert len(paired(pics, prompts)) == 3
    said = capsys.readouterr().err
    assert "no such file: gone.png" in said and ".heic 1" in said and "._a" not in said


def test_other_endings_that_no_table_names_are_passed_over(
    pics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("name,prompt\na.png,x\nsub/a.png,y\n")
    assert paired(pics, prompts) == {"a.png": "x", "sub/a.png": "y"}
    assert "passed over by their endings: .heic 1, .jfif 1" in capsys.readouterr().err


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")
def test_the_cases_are_paired_right_or_refused(capsys: pytest.CaptureFixture[str]):
    case, pics = CASES / "06-prompts-by-name", CASES / "06-prompts-by-name" / "pics"
    assert paired(pics, case / "backslash.csv") == {
        "a.png": "a red square",
        "sub/a.png": "a blue dog",
    }
    assert ".jfif 1" in capsys.readouterr().err
    assert paired(pics, case / "jfif.csv") == {"a.png": "a", "sub/a.png": "b", "b.jfif": "c"}
    with pytest.raises(UserError, match="twice"):
        paired(pics, case / "duplicate.csv")
    case, pics = CASES / "14-predict-prompts-text", CASES / "14-predict-prompts-text" / "pics"
    assert paired(pics, case / "headerless.tsv") == {"a.png": "a cat", "b.png": "a dog"}
    one = paired(pics, case / "one_and_blank.txt")
    assert one == {"a.png": "a red square", "b.png": "a red square"}


def test_lines_with_tabs_are_paths_and_prompts_or_refused(pics: Path, tmp_path: Path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a.png\ta cat\nno tab\n")
    with pytest.raises(UserError, match="data row 2 has no tab, others have"):
        paired(pics, prompts)
    prompts.write_text("a red square\n\n \n")
    assert set(paired(pics, prompts).values()) == {"a red square"}


def test_windows_fit_only_whole_names():
    match = PathMatch(["aa/b.png"], "x.csv")
    assert match.row("a/b.png") is None
    assert match.row("b.png") == 0 and match.left() == []


def test_an_image_by_its_path_and_nothing_scored(
    checkpoint: Path,  # noqa: F811
    pics: Path,
    tmp_path: Path,
):
    (tmp_path / "one.txt").write_text("a cat\n")
    out = tmp_path / "scores.csv"
    predict(PredictArgs(checkpoint, str(pics / "a.png"), tmp_path / "one.txt", out))
    before = out.read_text()
    assert len(list(csv.DictReader(io.StringIO(before)))) == 1
    (pics / "broken.png").write_text("none")
    for images, prompts in (
        (pics / "broken.png", tmp_path / "one.txt"),  # nothing can be read
        (pics, tmp_path / "few.csv"),  # a prompt is missing, after one that is there
    ):
        (tmp_path / "few.csv").write_text("name,prompt\na.png,x\nb.jfif,y\n")
        with pytest.raises(UserError):
            predict(PredictArgs(checkpoint, str(images), prompts, out))
        assert out.read_text() == before
        assert [path.name for path in tmp_path.glob("*.part")] == []


def test_what_is_no_file_is_written_as_it_is(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with _beside(tmp_path / "pipe") as target:
        assert target == tmp_path / "pipe"
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link.csv").symlink_to("real.csv")
    with _beside(tmp_path / "link.csv") as target:
        target.write_text("new")
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "real.csv").read_text() == "new"


def test_quality_alone_needs_no_prompts(
    checkpoint: Path,  # noqa: F811
    pics: Path,
    tmp_path: Path,
):
    quality = tmp_path / "quality.pt"
    save_checkpoint(quality, read_checkpoint(checkpoint) | {"range_consistency": None})
    out = tmp_path / "scores.csv"
    predict(PredictArgs(quality, str(pics), out=out))
    assert len(list(csv.DictReader(out.open()))) == 2
    with pytest.raises(UserError, match="what was asked for by --prompts"):
        predict(PredictArgs(checkpoint, str(pics), out=out))


ROWS = [("a.png", "a cat"), ("sub/a.png", "a dog")]
TABLES = {
    "p.json": json.dumps([{"image": name, "caption": prompt} for name, prompt in ROWS]),
    "p.jsonl": "".join(json.dumps({"name": n, "prompt": p}) + "\n" for n, p in ROWS),
    "capitals.csv": "Prompt,Filename\na cat,./a.PNG\na dog,sub\\a.png\n",
    "scored.tsv": "name\tprompt\tmos\na.png\ta cat\t3\nsub/a.png\ta dog\t4\n",
    "swapped.txt": "prompt\tname\na cat\ta.png\na dog\tsub/a.png\n",
    "comma.txt": "name,prompt\na.png,a cat\nsub/a.png,a dog\n",
}


@pytest.mark.parametrize("file", TABLES)
def test_prompts_of_any_table_are_found_by_their_headings(pics: Path, tmp_path: Path, file: str):
    (tmp_path / file).write_text(TABLES[file])
    assert paired(pics, tmp_path / file) == dict(ROWS)
    (tmp_path / file).write_text(TABLES[file], encoding="utf-16")
    if not file.startswith("p."):
        assert paired(pics, tmp_path / file) == dict(ROWS)


def test_prompts_in_a_spreadsheet_are_found(pics: Path, tmp_path: Path):
    pd.DataFrame(ROWS, columns=["name", "prompt"]).to_excel(tmp_path / "p.xlsx", index=False)
    assert paired(pics, tmp_path / "p.xlsx") == dict(ROWS)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("p.csv", "name,prompt\na.png,\n", "data row 1: a.png has no prompt"),
        ("p.csv", "name,prompt\na.png,x\n,y\n", "data row 2: there is no name of an image"),
        ("p.txt", "a.png\ta cat\t3\n", "data row 1 has 3 cells; it takes a path, a tab and a"),
    ],
)
def test_gaps_and_cells_too_many_are_sentences(
    pics: Path, tmp_path: Path, file: str, content: str, message: str
):
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=message):
        paired(pics, tmp_path / file)


def test_an_accent_is_the_same_however_it_is_written():
    match = PathMatch(["caf\u00e9/\u00e9.png"], "x.csv")
    assert match.row("cafe\u0301/e\u0301.PNG") == 0


def test_capitals_in_an_ending_count_where_a_table_has_both():
    match = PathMatch(["a.png", "a.PNG", "b.PNG"], "x.csv")
    assert [match.row(name) for name in ("a.png", "a.PNG", "b.png")] == [0, 1, 2]
    with pytest.raises(UserError, match=r"both a.png and a.PNG may be a.Png"):
        match.row("a.Png")
    with pytest.raises(UserError, match=r"b.PNG fits both b.png and b.PNG"):
        match.row("b.PNG")


def test_a_line_separator_within_a_prompt_ends_no_line(pics: Path, tmp_path: Path):
    (tmp_path / "p.txt").write_text("a.png\tone\u2028two\nsub/a.png\tthree\n")
    assert paired(pics, tmp_path / "p.txt")["a.png"] == "one\u2028two"
