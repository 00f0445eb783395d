"""Single ratings, one a row, one a column or in lists, against the means they stand for."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.csv_table import read_csv_table
from qa_core.errors import UserError

QUALITY = {"a.png": [1, 2, 4], "b.png": [5, 5, 2], "c.png": [3, 3, 7]}
ALIGN = {"a.png": [2, 2, 2], "b.png": [1, 5, 3], "c.png": [6, 7, 7]}


def read(tmp_path: Path, frame: pd.DataFrame, **how) -> RatedTable:
    frame.to_csv(tmp_path / "mine.csv", index=False)
    return read_csv_table(tmp_path / "mine.csv", tmp_path, require_images=False, **how)


def by_column(form: str) -> pd.DataFrame:
    rows = [
        {"name": name, "prompt": f"p{name}"}
        | {form.format(word="quality", k=k + 1): value for k, value in enumerate(values)}
        | {form.format(word="align", k=k + 1): value for k, value in enumerate(ALIGN[name])}
        for name, values in QUALITY.items()
    ]
    return pd.DataFrame(rows)


def by_row(rater: str | None) -> pd.DataFrame:
    rows = [
        {"name": name, "prompt": f"p{name}", "mos_quality": q, "mos_align": c}
        | ({} if rater is None else {rater: k})
        for k in range(3)
        for name in QUALITY
        for q, c in [(QUALITY[name][k], ALIGN[name][k])]
    ]
    return pd.DataFrame(rows)


def require_means(table: RatedTable) -> None:
    for target, ratings in (("quality", QUALITY), ("consistency", ALIGN)):
        values = np.array(list(ratings.values()), float)
        np.testing.assert_allclose(table.frame[f"mos_{target}"] * 6 + 1, values.mean(axis=1))
        np.testing.assert_allclose(table.frame[f"std_{target}"] * 6, values.std(axis=1, ddof=1))
    assert table.frame["n_raters"].tolist() == [3, 3, 3]
    # the means reach 4.3 and 6.7; the single ratings say that the scale has seven points
    assert table.range_quality == table.range_consistency == (1, 7)


@pytest.mark.parametrize(
    "form", ["mos_{word}_{k}", "{word}_{k}", "{word}_rater{k}", "rater{k}_{word}", "R{k} {word}"]
)
def test_one_column_a_rater(tmp_path: Path, form: str):
    table = read(tmp_path, by_column(form))
    require_means(table)
    assert any("is the mean of 3 columns of ratings" in note for note in table.notes)


@pytest.mark.parametrize("rater", ["rater", "Rater", None])
def test_one_row_a_rating(tmp_path: Path, rater: str | None):
    table = read(tmp_path, by_row(rater))
    require_means(table)
    assert any("9 rows with one rating each are 3 images" in note for note in table.notes)


def test_lists_of_ratings_in_cells(tmp_path: Path):
    rows = [
        {"name": n, "prompt": f"p{n}", "mos_quality": str(q), "mos_align": str(ALIGN[n])}
        for n, q in QUALITY.items()
    ]
    require_means(read(tmp_path, pd.DataFrame(rows)))


def test_raters_of_no_named_score_are_asked_about_and_named_by_a_pattern(tmp_path: Path):
    frame = by_column("{word}-{k}").rename(columns=lambda c: c.replace("quality-", "rater_"))
    frame = frame.drop(columns=[c for c in frame if "align" in c])
    with pytest.raises(UserError, match=r"rater_1 to rater_3 look like one rater each"):
        read(tmp_path, frame)
    for theirs in ("rater_*", "rater_1,rater_2,rater_3"):
        table = read(tmp_path, frame, columns={"mos_quality": theirs})
        np.testing.assert_allclose(
            table.frame["mos_quality"] * 6 + 1, [np.mean(v) for v in QUALITY.values()]
        )


def test_a_rater_who_is_named_and_looks_like_one_counts_once(tmp_path: Path):
    frame = by_column("{word}_{k}").drop(columns=["align_1", "align_2", "align_3"])
    frame = frame.rename(columns={"quality_1": "r1", "quality_2": "r2"})  # quality_3 stays
    table = read(tmp_path, frame, columns={"mos_quality": "r1,r2,quality_3"})
    np.testing.assert_allclose(
        table.frame["mos_quality"] * 6 + 1, [np.mean(v) for v in QUALITY.values()]
    )
    assert table.frame["n_raters"].tolist() == [3, 3, 3]
    assert not [name for name in table.frame if name.startswith("extra.")]  # no rating is one


def test_missing_ratings_count_for_nobody(tmp_path: Path):
    frame = by_column("{word}_{k}").astype(object)
    frame.loc[0, ["quality_1", "align_1", "align_2"]] = ["NA", "", "-"]
    table = read(tmp_path, frame)
    assert table.frame["mos_quality"].tolist()[0] * 6 + 1 == pytest.approx(3)
    assert table.frame["n_raters"].tolist() == [1, 3, 3]


def test_rows_of_an_image_must_agree_and_a_pasted_table_is_no_rating(tmp_path: Path):
    frame = by_row("rater")
    frame.loc[3, "prompt"] = "another"
    with pytest.raises(UserError, match=r"data row 4 \(a.png\): prompt is 'another', but 'pa.png'"):
        read(tmp_path, frame)
    once = by_row(None).drop_duplicates("name")
    with pytest.raises(UserError, match=r"image a.png is already in data row 1"):
        read(tmp_path, pd.concat([once, once]))


@settings(max_examples=25, deadline=None)
@given(
    ratings=st.dictionaries(
        st.sampled_from("abcdefgh"), st.lists(st.integers(1, 5), min_size=1, max_size=5), min_size=2
    ).filter(
        lambda ratings: (
            len({np.mean(values) for values in ratings.values()}) > 1
            and max(map(len, ratings.values())) > 1
        )
    )
)
def test_rows_and_lists_of_the_same_ratings_read_the_same(ratings: dict[str, list[int]]):
    rows = [
        {"name": name, "rater": k, "mos_quality": value}
        for name, values in ratings.items()
        for k, value in enumerate(values)
    ]
    lists = [{"name": name, "mos_quality": str(values)} for name, values in ratings.items()]
    with tempfile.TemporaryDirectory() as folder:
        first, second = (read(Path(folder), pd.DataFrame(each)) for each in (rows, lists))
    pd.testing.assert_frame_equal(first.frame, second.frame, check_like=True)
