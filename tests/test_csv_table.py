"""The reader of one's own CSV: what it accepts, and what it says of what it does not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qa_core.data.findings import TableError
from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.csv_table import read_csv_table
from qa_core.errors import UserError

HEADER = "name,prompt,mos_quality,mos_align"
ROWS = ["a.png,a red cube,1.5,4", "b.png,A  red cube,2,5", 'c.png,"a dog, asleep",5,1']


@pytest.fixture
def write(tmp_path):
    """Write a table and empty image files; gives the arguments of the reader."""

    def write(*lines: str, text: str | None = None, encoding: str = "utf-8") -> tuple[Path, Path]:
        csv_path, folder = tmp_path / "mine.csv", tmp_path / "pictures"
        csv_path.write_bytes((text or "\n".join(lines) + "\n").encode(encoding))
        for name in ("a.png", "b.png", "c.png", "sub/d.png"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        return csv_path, folder

    return write


def read(arguments: tuple[Path, Path]) -> RatedTable:
    return read_csv_table(*arguments, range_quality=(1, 5), range_consistency=(0, 5))


def test_frame_of_a_plain_table(write):
    csv_path, folder = write(HEADER, *ROWS)
    table = read_csv_table(csv_path, folder, (1, 5), (0, 5))
    frame = table.frame
    assert list(frame.columns) == [
        *("name", "image_path", "prompt", "group", "mos_quality", "mos_consistency")
    ]
    assert list(frame.index) == [0, 1, 2]
    np.testing.assert_allclose(frame["mos_quality"], [0.125, 0.25, 1.0])
    np.testing.assert_allclose(frame["mos_consistency"], [0.8, 1.0, 0.2])
    assert frame["prompt"].tolist() == ["a red cube", "A  red cube", "a dog, asleep"]
    assert len(set(frame["group"])) == 2  # case and spacing make no other prompt
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in frame["image_path"])
    assert (table.name, table.range_quality, table.range_consistency) == ("mine", (1, 5), (0, 5))
    assert table.notes == ()


def test_optional_columns(write):
    csv_path, folder = write(
        "name,prompt,mos_quality,std_quality,mos_consistency,std_align,generator,setting,why,n_raters",
        "a.png,x,1,.5,1,2,dalle,fast,too dark,12",
        "b.png,y,5,,5,1,glide,,,13",
    )
    table = read_csv_table(csv_path, folder, (1, 5), (1, 5), explanation_column="why")
    frame = table.frame
    np.testing.assert_allclose(frame["std_quality"], [0.125, np.nan])
    np.testing.assert_allclose(frame["std_consistency"], [0.5, 0.25])
    np.testing.assert_allclose(frame["mos_consistency"], [0, 1])
    assert frame["n_raters"].tolist() == [12, 13]
    assert frame["generator"].tolist() == ["dalle", "glide"]
    assert frame["setting"].tolist() == ["fast", ""]
    assert frame["explanation"].tolist() == ["too dark", ""]


def test_one_score_is_enough_and_empty_columns_are_absent(write):
    csv_path, folder = write("name,prompt,mos_align,generator", "a.png,x,1,", "b.png,y,3,")
    table = read_csv_table(csv_path, folder)
    assert "mos_quality" not in table.frame and "generator" not in table.frame
    assert table.range_quality is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.3, 1], (0, 1)),
        ([1, 3.3, 5], (1, 5)),
        ([0.99, 5, 2], (0, 5)),
        ([1, 5.01, 2], (1, 7)),
        ([1, 7.5, 2], (1, 10)),
        ([0.5, 9, 2], (0, 10)),
        ([0, 10.5, 100], (0, 100)),
    ],
)
def test_without_a_range_the_smallest_usual_one_is_taken_and_said(write, values, expected):
    lines = [f"{name}.png,prompt {name},{value}" for name, value in zip("abc", values, strict=True)]
    table = read_csv_table(*write("name,prompt,mos_quality", *lines))
    low, high = expected
    assert table.range_quality == expected
    np.testing.assert_allclose(table.frame["mos_quality"], (np.array(values) - low) / (high - low))
    assert len(table.notes) == 1
    assert f"mos_quality is read on the scale {low} to {high}" in table.notes[0]


def test_spreadsheet_dialects_read_the_same(write):
    plain = read(write(HEADER, *ROWS))
    text = (
        "name;prompt;mos_quality;mos_align\r\na.png;a red cube;1,5;4\r\n"
        "b.png;A  red cube;2;5\r\n\r\nc.png;a dog, asleep;5;1\r\n"
    )
    german = read(write(text=text, encoding="utf-8-sig"))
    tabbed = read(write(text=text.replace(";", "\t").replace("1,5", "1.5")))
    pd.testing.assert_frame_equal(german.frame, plain.frame)
    pd.testing.assert_frame_equal(tabbed.frame, plain.frame)
    assert plain.sha256 == german.sha256


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["name,mos_align", "a.png,1"], "column 'prompt' is missing; the table has name, mos_al"),
        (
            ["name,prompt", "a.png,x"],
            "'mos_quality' and 'mos_align' are missing; the table has name, prompt. One score is",
        ),
        (
            ["picture,caption,rating", "a.png,x,1"],
            "columns 'name' and 'prompt' and 'mos_quality' are missing; .* --columns"
            " 'name=picture prompt=caption mos_quality=rating'",
        ),
        ([HEADER], "no rows"),
        ([HEADER, "a.png,x,good,1"], r"data row 1 \(a.png\): mos_quality is 'good', not a number"),
        ([HEADER, "a.png,x,1,some"], r"data row 1 \(a.png\): mos_align is 'some', not a number"),
        ([HEADER, "a.png,x,1,inf"], "mos_align is 'inf', not a number"),
        ([HEADER, ROWS[0], "b.png,x,5.5,1"], r"data row 2 \(b.png\): mos_quality is 5.5, outside"),
        ([HEADER, ROWS[0], "b.png,x,#DIV/0!,1"], "a formula's error, not a number"),
        ([HEADER, ROWS[0], "b.png,x,03-May,1"], "'03-May', a date, not a number"),
        ([HEADER, ROWS[0], "b.png,x,2026-05-03,1"], "'2026-05-03', a date, not a number"),
        ([HEADER, 'a.png,x,"1,5",1', "b.png,x,2.5,1"], "'1,5', not a number; write all numbers of"),
        ([HEADER, 'a.png,x,"1,512",1', "b.png,x,3,1"], "'1,512', not a number; write all numbers"),
        ([HEADER, "a.png,x,1 234,1", ROWS[1]], "'1 234', not a number; write all numbers of the"),
        (["name,prompt,mos_quality,mos_quality", "a.png,x,1,2"], "two columns are called"),
        (["name,prompt,mos_quality,Mos quality", "a.png,x,1,2"], "two columns are called"),
        (
            [HEADER, ROWS[0], "z.png,x,1,1", "y.png,x,1,1"],
            r"data row 2: image z.png is not in .*and 1 more",
        ),
        ([HEADER, "../a.png,x,1,1"], "data row 1: image path ../a.png leaves the image folder"),
        ([HEADER, "sub/../../a.png,x,1,1"], "leaves the image folder"),
        ([HEADER, "/etc/a.png,x,1,1"], "image path /etc/a.png leaves the image folder"),
        ([HEADER, *ROWS, ROWS[0]], "data row 4: image a.png is already in data row 1"),
        ([HEADER, "a.png, ,1,1", ROWS[1]], r"data row 1 \(a.png\): column 'prompt' is empty"),
        ([HEADER, "a.png, ,1,1"], "column 'prompt' is empty in every row, and mos_align rates"),
        ([HEADER, "a.png,x"], "no row has a rating in mos_quality or mos_align"),
        ([HEADER, ROWS[0], "b.png,x,1,2,3"], "data row 2 has more cells than the header"),
        ([HEADER, 'a.png,"x" y,1,2'], "cannot be read as a table.* begins in line 2"),
        (
            [HEADER, ROWS[0], 'b.png,"x,1,2'],
            "a quote is not closed in the row that begins in line 3",
        ),
        ([HEADER, "a.png,x,1,2,3"], "more cells than the header"),
        (
            [HEADER + ",mos_consistency", "a.png,x,1,1,1"],
            "mos_align and mos_consistency mean the same",
        ),
        ([HEADER + ",std_quality", "a.png,x,1,1,wide"], "std_quality is 'wide', not a number"),
    ],
)
def test_what_is_wrong_is_named_with_file_row_and_column(write, lines, message):
    with pytest.raises(UserError, match=message) as caught:
        read(write(*lines))
    assert "mine.csv" in str(caught.value)


def test_all_wrong_rows_are_told_at_once(write):
    lines = [HEADER, "a.png,x,9,1", "z.png,,1,some", "a.png,y,1,1", "b.png,y,1,1"]
    with pytest.raises(TableError) as caught:
        read(write(*lines))
    told = [problem.split(", ", 1)[1] for problem in caught.value.problems]
    assert told == [
        "data row 1 (a.png): mos_quality is 9, outside its range 1 to 5.",
        "data row 2 (z.png): column 'prompt' is empty.",
        f"data row 2: image z.png is not in {caught.value.problems[2].rsplit(' in ')[1]}",
        "data row 2 (z.png): mos_align is 'some', not a number.",
        "data row 3: image a.png is already in data row 1; keep one row an image, with the mean of"
        " its ratings.",
    ]
    assert str(caught.value).endswith("(and 4 more problems: make check-data tells of all)")


def test_a_spreadsheet_reads_like_the_same_csv(write):
    csv_path, folder = write(HEADER, *ROWS)
    plain = read((csv_path, folder))
    pd.read_csv(csv_path).to_excel(csv_path.with_suffix(".xlsx"), index=False)
    sheet = read((csv_path.with_suffix(".xlsx"), folder))
    pd.testing.assert_frame_equal(sheet.frame, plain.frame)
    csv_path.with_suffix(".xlsx").write_text("no spreadsheet")
    with pytest.raises(UserError, match="cannot be read as a spreadsheet"):
        read((csv_path.with_suffix(".xlsx"), folder))


def test_the_official_part_is_one_of_three(write):
    header = "name,prompt,mos_quality,part"
    table = read(write(header, "a.png,x,1,train", "b.png,y,3,test"))
    assert table.frame["part"].tolist() == ["train", "test"]
    table = read(write(header, "a.png,x,1,Training", "b.png,y,3,val", "c.png,y,3,testing"))
    assert table.frame["part"].tolist() == ["train", "validation", "test"]
    with pytest.raises(UserError, match=r"data row 2 \(b.png\): part is 'dev', not one of train"):
        read(write(header, "a.png,x,1,train", "b.png,y,3,dev"))


def test_no_usual_range_holds_the_values(write):
    arguments = write("name,prompt,mos_quality", "a.png,x,-1", "b.png,y,3")
    with pytest.raises(UserError, match=r"mos_quality runs from -1 to 3.*name its range"):
        read_csv_table(*arguments)


def test_files_that_are_no_tables(write, tmp_path):
    csv_path, folder = write(text="name,prompt,mos_quality\na.png,caf\xe9,1", encoding="latin-1")
    with pytest.raises(UserError, match="not UTF-8"):
        read_csv_table(csv_path, folder)
    with pytest.raises(UserError, match="there is no such table"):
        read_csv_table(tmp_path / "none.csv", folder)
    csv_path.write_text("")
    with pytest.raises(UserError, match="is empty"):
        read_csv_table(csv_path, folder)


def test_missing_folder_bad_range_and_unknown_explanations(write, tmp_path):
    csv_path, folder = write(HEADER, *ROWS)
    with pytest.raises(UserError, match="no such image folder"):
        read_csv_table(csv_path, tmp_path / "nowhere")
    with pytest.raises(UserError, match="5 to 1 is no range for mos_quality"):
        read_csv_table(csv_path, folder, (5, 1))
    with pytest.raises(UserError, match="column 'why' is missing"):
        read_csv_table(csv_path, folder, explanation_column="why")


def test_sha256_follows_the_contents_and_not_the_place(write, tmp_path):
    csv_path, folder = write(HEADER, *ROWS)
    table = read_csv_table(csv_path, folder, (1, 5), (1, 5))
    elsewhere = folder.rename(tmp_path / "moved")
    assert read_csv_table(csv_path, elsewhere, (1, 5), (1, 5)).sha256 == table.sha256
    assert read_csv_table(csv_path, elsewhere, (0, 5), (1, 5)).sha256 != table.sha256
    csv_path.write_text("\n".join([HEADER, *ROWS[:2], 'c.png,"a dog, awake",5,1']))
    assert read_csv_table(csv_path, elsewhere, (1, 5), (1, 5)).sha256 != table.sha256
