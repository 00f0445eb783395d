"""Tables of every kind and habit: each reads like the same plain CSV, or ends in a sentence."""

import datetime
import json
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.cells import read_cells
from qa_core.data.tables.csv_table import read_csv_table
from qa_core.data.tables.numbers import is_missing, points_for_commas
from qa_core.errors import UserError
from tests.conftest import SHARED

ROWS = [
    {"name": f"{n}.png", "prompt": p, "mos_quality": q, "mos_align": c}
    for n, p, q, c in [("a", "a red cube", 1.5, 4), ("b", "two, dogs", 2, 5), ("c", "x", 5, 1)]
]
RANGES = ((1, 5), (1, 5))


def read(path: Path, **how) -> RatedTable:
    return read_csv_table(path, path.parent, *RANGES, require_images=False, **how)


@pytest.fixture
def plain(tmp_path: Path) -> RatedTable:
    pd.DataFrame(ROWS).to_csv(tmp_path / "mine.csv", index=False)
    return read(tmp_path / "mine.csv")


def excel(path: Path, rows: list[list]) -> Path:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def sheet_rows() -> list[list]:
    return [list(ROWS[0]), *(list(row.values()) for row in ROWS)]


def test_json_lines_columns_and_parquet_read_like_the_csv(tmp_path: Path, plain: RatedTable):
    frame = pd.DataFrame(ROWS)
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "mine.json").write_text(json.dumps(ROWS))
    frame.to_json(tmp_path / "mine.jsonl", orient="records", lines=True)
    frame.to_json(tmp_path / "mine.json")  # pandas' own form: an object of columns
    frame.to_parquet(tmp_path / "mine.parquet")
    for name in ("list/mine.json", "mine.jsonl", "mine.json", "mine.parquet"):
        pd.testing.assert_frame_equal(
            read(tmp_path / name).frame.drop(columns="image_path"),
            plain.frame.drop(columns="image_path"),
        )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine.json", "[1, 2]", "holds no list of entries"),
        ("mine.json", '{"name": ["a"], "prompt": []}', "holds no list of entries"),
        ("mine.json", '[{"name": "a"', "is not JSON"),
        ("mine.jsonl", '{"name": "a"}\n{"name":', "entry 2 is not JSON"),
        ("mine.json", '[{"name": {"x": 1}, "mos_quality": 1}]', "column 'name' is missing"),
        ("mine.parquet", "PAR1", "cannot be read as parquet"),
        ("mine.xls", "x", "save it as .xlsx or CSV"),
        ("mine.json", "[]", "no rows"),
    ],
)
def test_broken_records_are_told(tmp_path: Path, name: str, content: str, message: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path / name)


def test_a_parquet_of_texts_that_are_none_is_told(tmp_path: Path):
    path = tmp_path / "mine.parquet"
    pd.DataFrame(ROWS).to_parquet(path, compression=None)
    path.write_bytes(path.read_bytes().replace(b"a.png", b"\xe2.png"))
    with pytest.raises(UserError, match="cannot be read as parquet"):
        read(path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is absent")
def test_the_case_of_blank_rows():
    case = SHARED / "cases" / "09-blank-rows" / "trailing_empty.csv"
    assert len(read(case).frame) == 24


def test_blank_rows_and_columns_are_none_and_rows_keep_their_numbers(tmp_path, plain):
    lines = ["", "name,prompt,mos_quality,mos_align,,"]
    for row in ROWS:
        lines += [
            f'{row["name"]},"{row["prompt"]}",{row["mos_quality"]},{row["mos_align"]},,',
            ",,,,,",
            "",
        ]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([*lines, " , ,,\u00a0,", ""]))
    assert read(path).sha256 == plain.sha256
    path.write_text("\n".join(lines).replace(",1,", ",one,"))
    with pytest.raises(UserError, match=r"data row 7 \(c.png\): mos_align is 'one'"):
        read(path)


def test_blank_cells_below_a_spreadsheet(tmp_path: Path, plain: RatedTable):
    rows = [*sheet_rows(), *([None] * 4 for _ in range(15)), [None, " "], [None]]
    assert read(excel(tmp_path / "mine.xlsx", rows)).sha256 == plain.sha256


def test_dialects_of_spreadsheet_programs(tmp_path: Path, plain: RatedTable):
    path = tmp_path / "mine.csv"
    german = pd.DataFrame(ROWS).to_csv(index=False, sep=";", decimal=",")
    for content in (
        german.encode("utf-8-sig"),
        ("sep=;\r\n" + german).encode(),
        german.replace(";", "\t").encode("utf-16"),
        german.replace("\n", "\r").encode(),
        pd.DataFrame(ROWS).to_csv(index=False, decimal=",", quoting=1).encode(),
        pd.DataFrame(ROWS)
        .rename(columns={"name": "Name", "mos_quality": "MOS Quality"})
        .to_csv(index=False)
        .encode(),
    ):
        path.write_bytes(content)
        assert read(path).sha256 == plain.sha256, content


def test_german_thousands_and_three_digits_behind_commas(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("name;prompt;mos_quality\na.png;x;1.234,5\nb.png;y;3,512\n")
    frame = read_csv_table(path, tmp_path, (0, 2000), None, require_images=False).frame
    assert (frame["mos_quality"] * 2000).round(6).tolist() == [1234.5, 3.512]


def test_formulas_errors_and_dates_of_spreadsheets_are_never_silent(tmp_path: Path):
    header, first = sheet_rows()[:2]
    wrong = {
        "=1+1": "the formula =1\\+1 has no value in the file",
        "#N/A": "'#N/A', a formula's error",
        "#DIV/0!": "'#DIV/0!', a formula's error",
        datetime.datetime(2026, 5, 3): "a date, not a number",
        "85%": "'85%', not a number",
    }
    for value, message in wrong.items():
        path = excel(tmp_path / "mine.xlsx", [header, first, ["b.png", "x", value, 1]])
        with pytest.raises(UserError, match=message):
            read(path)


def test_the_first_sheet_that_holds_anything_is_read(tmp_path: Path, plain: RatedTable):
    path = excel(tmp_path / "mine.xlsx", sheet_rows())
    book = openpyxl.load_workbook(path)
    book.create_sheet("empty", 0)
    book.create_sheet("remarks").append(["something else"])
    book.save(path)
    assert read(path).sha256 == plain.sha256


def test_what_says_that_a_number_is_missing():
    texts = pd.Series(["", "NA", "n/a", "NaN", "null", "-", "0", "#N/A", "x"])
    assert is_missing(texts).tolist() == [True] * 6 + [False] * 3


@settings(deadline=None)
@given(
    values=st.lists(st.floats(0, 99999, allow_nan=False).map(lambda v: round(v, 3)), min_size=1),
    thousands=st.booleans(),
)
def test_decimal_commas_come_back_as_the_numbers_they_were(values: list[float], thousands: bool):
    form = "{:,.3f}" if thousands else "{:.3f}"
    swap = str.maketrans(",.", ".,")
    texts = pd.Series([form.format(value).translate(swap) for value in values])
    assert points_for_commas(texts, surely=True).astype(float).tolist() == values
    assert points_for_commas(texts, surely=False).equals(texts)  # 1,234 may be a thousand


def test_missing_ratings_are_left_out_and_counted(tmp_path: Path):
    path = tmp_path / "mine.csv"
    lines = ["name,prompt,mos_quality,mos_align", "a.png,x,1,NA", "b.png,y,,", "c.png,y,2,3"]
    path.write_text("\n".join([*lines, "d.png,z,N/A,n/a", "e.png,z,-,4"]))
    table = read(path)
    assert table.frame["name"].tolist() == ["a.png", "c.png", "e.png"]
    assert table.frame["mos_quality"].isna().tolist() == [False, False, True]
    assert table.frame["mos_consistency"].isna().tolist() == [True, False, False]
    assert table.notes == (
        "2 rows without any rating are left out, the first is 2.",
        "mos_quality is missing in 1 of 3 rows.",
        "mos_align is missing in 1 of 3 rows.",
    )


def test_a_column_without_any_rating_is_no_target(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("name,prompt,mos_quality,mos_align\na.png,x,1,\nb.png,y,2,NA\n")
    table = read(path)
    assert "mos_consistency" not in table.frame and table.range_consistency is None


def test_photographs_have_no_prompts(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("name,mos_quality\na.png,1\nb.png,2\nB.png,3\n")
    table = read(path)
    assert not table.has_prompts and table.frame["prompt"].tolist() == ["", "", ""]
    assert table.frame["group"].tolist() == ["a.png", "b.png", "B.png"]
    assert any("no prompts" in note for note in table.notes)
    path.write_text("name,prompt,mos_quality\na.png,,1\nb.png,,2\n")
    assert not read(path).has_prompts


def test_prompts_by_another_name_are_asked_for_not_dropped(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("name,caption,mos_quality\na.png,x,1\nb.png,y,2\n")
    with pytest.raises(UserError, match=r"--columns prompt=caption.*no prompts: --columns prompt="):
        read(path)
    assert read(path, columns={"prompt": "caption"}).frame["prompt"].tolist() == ["x", "y"]
    assert not read(path, columns={"prompt": ""}).has_prompts


def test_cells_of_a_file_that_is_only_a_header(tmp_path: Path):
    (tmp_path / "mine.csv").write_text("name,prompt\n,\n")
    with pytest.raises(UserError, match="no rows"):
        read_cells(tmp_path / "mine.csv")
