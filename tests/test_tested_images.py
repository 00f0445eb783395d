"""The tested images beside an ablation's runs: which are shown, their table, their pictures."""

import contextlib
import io
from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from qa_core.data.tables.csv_table import read_csv_table
from qa_core.errors import UserError
from qa_core.records.images import (
    THUMBNAIL_PX,
    read_images,
    read_thumbnails,
    rows_shown,
    write_images,
    write_thumbnails,
)


def test_whole_prompts_are_shown_split_after_split() -> None:
    rows, groups = np.arange(40), np.array([f"prompt {k % 8}" for k in range(40)])
    first, second = rows[:30], rows[10:]
    shown = rows_shown([(first, groups[first]), (second, groups[second])], most=34)
    assert sorted(shown[:30]) == list(range(30)) and len(set(shown)) == 34
    begun = [groups[row] for row in shown[:30]]
    assert [g for k, g in enumerate(begun) if k == 0 or begun[k - 1] != g] == [
        *dict.fromkeys(begun)
    ]
    assert rows_shown([(first, groups[first])]) == shown[:30]
    assert rows_shown([]) == []


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "name": ["NA", "1.png"],
            "prompt": ["", '<script>alert("x")</script>, a\nb'],
            "group": ["g", "h"],
            "image_path": ["/secret/a", "/secret/b"],
            "mos_quality": [0.5, np.nan],
            "n_raters": [3.0, np.nan],
            "extra.style": ["null", "007"],
        },
        index=[4, 9],
    )
    write_images(tmp_path / "images.csv", frame)
    read = read_images(tmp_path / "images.csv")
    pd.testing.assert_frame_equal(
        read.rename_axis(None), frame.drop(columns="image_path"), check_dtype=False
    )


def test_what_a_stranger_put_there_is_left_out_or_told(tmp_path: Path) -> None:
    archive = tmp_path / "thumbnails.zip"
    with ZipFile(archive, "w", ZIP_DEFLATED) as file:
        file.writestr("3.webp", b"ours")
        file.writestr("4.webp", b"0" * 50_000_000)  # 50 KB packed
        file.writestr("../5.webp", b"climbs out")
        file.writestr("six.webp", b"no row")
    assert read_thumbnails(archive) == {3: b"ours"}
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(UserError, match=r"thumbnails.zip is damaged .* make ablation"):
        read_thumbnails(archive)
    for text in (b"", b"row\n", b"a,b\n1,2\n", b'row,name\n1,"open', b"\xff\xfe\x00"):
        (tmp_path / "images.csv").write_bytes(text)
        with pytest.raises(UserError, match=r"images.csv is damaged"):
            read_images(tmp_path / "images.csv")


def test_pictures_are_small_and_found_by_row(tmp_path: Path) -> None:
    paths = {}
    for row, (size, form) in {7: ((900, 300), "JPEG"), 2: ((20, 60), "PNG")}.items():
        paths[row] = tmp_path / f"{row}.{form.lower()}"
        Image.new("RGB", size, (200, 30, 30)).save(paths[row])
    write_thumbnails(tmp_path / "thumbnails.zip", paths)
    found = read_thumbnails(tmp_path / "thumbnails.zip")
    opened = {row: Image.open(io.BytesIO(data)) for row, data in found.items()}
    assert {row: image.size for row, image in opened.items()} == {
        7: (THUMBNAIL_PX, THUMBNAIL_PX // 3),
        2: (20, 60),
    }
    red, green, _ = np.asarray(opened[7].convert("RGB")).mean((0, 1))
    assert abs(red - 200) < 8 and abs(green - 30) < 8


def test_further_columns_are_kept_and_decide_nothing(small_table: Path) -> None:
    cells = pd.read_csv(small_table)
    plain = read_csv_table(small_table, small_table.parent)
    more = small_table.with_name("more.csv")
    styles = [f"style {k % 3}" for k in range(len(cells))]
    cells.assign(Style=styles, constant="x").to_csv(more, index=False)
    table = read_csv_table(more, small_table.parent)
    assert list(table.frame["extra.Style"]) == styles
    assert "extra.constant" not in table.frame
    assert not any(name.startswith("extra.") for name in plain.frame)
    assert replace(table, name=plain.name).sha256 == plain.sha256


@pytest.mark.parametrize("packing", [ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA])
def test_damage_of_any_kind_is_told(tmp_path: Path, packing: int) -> None:
    rng, archive = np.random.default_rng(packing), tmp_path / "thumbnails.zip"
    with ZipFile(archive, "w", packing) as file:
        for row in range(4):
            file.writestr(f"{row}.webp", rng.bytes(300) * 3)
    table = tmp_path / "images.csv"
    columns = {key: ["a", "b"] for key in ("name", "prompt", "group", "image_path")}
    write_images(table, pd.DataFrame(columns | {"mos_quality": [0.1, 0.2]}))
    for file, read in ((archive, read_thumbnails), (table, read_images)):
        whole = file.read_bytes()
        for _ in range(200):
            cut = bytearray(
                whole[: rng.integers(1, len(whole) + 1)] if rng.random() < 0.3 else whole
            )
            for at in rng.integers(0, len(cut), 3):
                cut[at] = rng.choice(np.array([rng.integers(256), *b'",\n']))
            file.write_bytes(cut)
            with contextlib.suppress(UserError):
                read(file)
