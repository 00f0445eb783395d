"""Files are there whole or not at all, and damage is seen."""

from pathlib import Path

import pytest

from qa_core.system.files import (
    file_sha256,
    is_intact,
    noted_whole,
    written_together,
    written_whole,
)


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    with written_whole(file) as partial:
        partial.write_bytes(b"one")
        assert not file.exists()
    assert file.read_bytes() == b"one" and list(tmp_path.iterdir()) == [file]


def test_what_was_there_stays_when_writing_fails(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"before")
    with pytest.raises(OSError, match="full"), noted_whole(file) as partial:
        partial.write_bytes(b"half")
        raise OSError("full")
    assert file.read_bytes() == b"before" and list(tmp_path.iterdir()) == [file]


def test_damage_is_seen_by_the_note(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    with noted_whole(file) as partial:
        partial.write_bytes(b"abc")
    assert is_intact(file)
    # SHA-256 of "abc": FIPS 180-2, appendix B.1
    assert file_sha256(file).startswith("ba7816bf8f01cfea")
    file.write_bytes(b"abd")
    assert not is_intact(file)
    file.with_suffix(".json").write_text("no JSON")
    assert not is_intact(file)
    file.with_suffix(".json").unlink()
    assert not is_intact(file)


def test_many_files_are_replaced_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for name in ("a.txt", "tables/b.csv", "tables/kept.csv"):
        (tmp_path / name).write_text("before")
    with pytest.raises(OSError, match="full"), written_together(tmp_path) as new:
        (new / "a.txt").write_text("after")
        raise OSError("full")
    assert {p.read_text() for p in tmp_path.rglob("*.*") if p.is_file()} == {"before"}
    with written_together(tmp_path) as new:
        (new / "tables").mkdir()
        (new / "a.txt").write_text("after")
        (new / "tables" / "b.csv").write_text("after")
    found = {p.name: p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {"a.txt": "after", "b.csv": "after", "kept.csv": "before"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "tables"]
