"""Images found where people keep them, and nowhere that a table should not reach."""

from pathlib import Path

import pytest

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.csv_table import read_csv_table
from qa_core.data.tables.images import find_images, folders_below
from qa_core.errors import UserError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    path = tmp_path / "home" / "mine.csv"
    path.write_text("name,prompt,mos_quality\na.png,x,1\nsub/b.jpg,y,2\n")
    return path


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def files_of(table: RatedTable, root: Path) -> list[str]:
    return [str(Path(path).relative_to(root)) for path in table.frame["image_path"]]


def test_another_case_or_ending_is_found_and_told(table: Path):
    home = table.parent
    touch(home / "A.PNG", home / "sub" / "b.webp", home / "sub" / "b.txt")
    read = read_csv_table(table, home)
    assert files_of(read, home) == ["A.PNG", "sub/b.webp"]
    assert read.frame["name"].tolist() == ["a.png", "sub/b.jpg"]
    assert any("2 images have another case or ending" in note for note in read.notes)


def test_two_that_can_be_meant_are_named(table: Path):
    touch(table.parent / "a.png", table.parent / "sub/b.webp", table.parent / "sub/b.png")
    with pytest.raises(UserError, match=r"b.jpg is not in .*, but sub/b.png, sub/b.webp are: name"):
        read_csv_table(table, table.parent)


def test_names_without_ending_and_with_backslashes(table: Path):
    table.write_text("name,prompt,mos_quality\na,x,1\nsub\\b.jpg,y,2\nsd1.5_c,z,2\n")
    touch(table.parent / "a.png", table.parent / "sub/b.jpg", table.parent / "sd1.5_c.png")
    files = files_of(read_csv_table(table, table.parent), table.parent)
    assert files == ["a.png", "sub/b.jpg", "sd1.5_c.png"]
    table.write_text("name,prompt,mos_quality\na,x,1\n..\\b.jpg,y,2\n")
    with pytest.raises(UserError, match="leaves the image folder"):
        read_csv_table(table, table.parent)


def test_accents_are_the_same_however_the_disk_writes_them(table: Path):
    table.write_text("name,prompt,mos_quality\n\u00e9.png,x,1\ne\u0300.png,y,2\n")
    touch(table.parent / "e\u0301.png", table.parent / "\u00e8.png")
    files = files_of(read_csv_table(table, table.parent), table.parent)
    assert files == ["e\u0301.png", "\u00e8.png"]


def test_images_one_folder_below_or_a_sentence_on_where_it_looked(table: Path):
    home = table.parent
    touch(home / "notes" / "x.txt", home / "pictures" / "a.png", home / "pictures/sub/b.jpg")
    assert files_of(read_csv_table(table, home), home)[0] == "pictures/a.png"
    (home / "pictures").rename(home / "notes" / "pictures")
    with pytest.raises(UserError) as caught:
        read_csv_table(table, home)
    assert str(caught.value) == (
        f"No image of the table (a.png, sub/b.jpg) is in {home} and notes in it; name their folder"
        " by IMAGES= (--images), or mend the names."
    )


def test_folders_behind_links_are_followed_once_and_names_stay_confined(table: Path, tmp_path):
    home, disk = table.parent, tmp_path / "disk"
    touch(disk / "b.jpg", disk / "deep" / "c.png", tmp_path / "secret.png", home / "a.png")
    (home / "sub").symlink_to(disk)
    (disk / "round").symlink_to(home)
    assert len(read_csv_table(table, home).frame) == 2
    assert find_images(home, ["c.png"]) == home / "sub" / "deep"
    assert len(list(folders_below(home))) == 3
    (disk / "b.jpg").unlink()
    (disk / "b.jpg").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UserError, match=r"sub/b.jpg is a link that leaves the image folder"):
        read_csv_table(table, home)
