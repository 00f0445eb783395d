"""Identical images of different prompts, against the groups that a split may not part."""

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from qa_core.data.identical import first_copies, joined_groups, keep_copies_together
from qa_core.data.rated_table import RatedTable


def write(folder: Path, contents: list[bytes]) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def table(paths: list[Path], groups: str) -> RatedTable:
    frame = pd.DataFrame({"image_path": map(str, paths), "group": list(groups)})
    return RatedTable(frame, "x", "1", (0, 1), None, ("a note",))


def test_copies_are_found_by_their_bytes_and_empty_files_are_none(tmp_path: Path):
    paths = write(tmp_path, [b"one", b"two", b"one", b"", b"", b"another", b"two"])
    assert first_copies([*paths, tmp_path / "absent"]).tolist() == [0, 1, 0, 3, 4, 5, 1, 7]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_rows_are_joined_where_a_chain_of_copies_and_groups_leads(rows: list[tuple[int, int]]):
    groups, images = [f"g{g}" for g, _ in rows], [i for _, i in rows]
    first = np.array([images.index(image) for image in images])
    joined = joined_groups(groups, first)
    reach = np.array([[a == b or i == j for b, j in rows] for a, i in rows])
    for _ in rows:  # the transitive closure
        reach = (reach.astype(int) @ reach.astype(int)) > 0
    assert (reach == (joined[:, None] == joined[None, :])).all()


def test_groups_that_share_an_image_are_one_and_it_is_told(tmp_path: Path):
    paths = write(tmp_path, [b"1", b"2", b"1", b"3", b"3"])
    (together,) = keep_copies_together([table(paths, "abcdd")])
    assert together.frame["group"].tolist() == ["a", "b", "a", "d", "d"]
    assert together.notes[1] == (
        "2 images are the same file as an earlier one, 1 of them under another prompt; a split"
        " keeps these together."
    )
    (alone,) = keep_copies_together([table(paths[:2], "ab")])
    assert alone.notes == ("a note",)


def test_copies_in_another_data_set_share_its_group(tmp_path: Path):
    paths = write(tmp_path, [b"1", b"2", b"3", b"1"])
    first, second = keep_copies_together([table(paths[:2], "ab"), table(paths[2:], "cd")])
    assert first.frame["group"].tolist() == ["a", "b"]
    assert second.frame["group"].tolist() == ["c", "a"]
