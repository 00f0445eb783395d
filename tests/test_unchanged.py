"""The state of files, and that a command which ended knows when it has nothing to do."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import write_table

from experiments.ablation import AblationArgs
from experiments.cli.ended import has_ended, note_end, state_asked
from experiments.study import StudyArgs
from qa_core.system.unchanged import state_of


def overwrite_with_its_old_time(file: Path) -> None:
    before = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def put_another_in_its_place(file: Path) -> None:
    other = file.with_name("other.png")
    other.write_bytes(file.read_bytes()[::-1])
    os.replace(other, file)


def delete(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("change", [overwrite_with_its_old_time, put_another_in_its_place, delete])
def test_a_change_is_seen_behind_a_link_too(change: Callable[[Path], None], tmp_path: Path) -> None:
    root, far = tmp_path / "root", tmp_path / "far"
    root.mkdir()
    far.mkdir()
    (far / "a.png").write_bytes(b"pixels")
    (root / "linked").symlink_to(far)
    (root / "itself").symlink_to(root)
    before = state_of([root])
    assert state_of([root]) == before
    (far / "a.png").read_bytes()
    assert state_of([root]) == before
    change(far / "a.png")
    assert state_of([root]) != before


def test_what_is_left_out_may_change(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    before = state_of([tmp_path], leave_out=[cache])
    (cache / "new").write_text("x")
    assert state_of([tmp_path], leave_out=[cache]) == before
    (tmp_path / "new").write_text("x")
    assert state_of([tmp_path], leave_out=[cache]) != before


@pytest.fixture
def args(tmp_path: Path) -> AblationArgs:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mlflow.db").write_text("runs")
    (tmp_path / "data").mkdir()
    return AblationArgs(table=write_table(tmp_path / "data"), out=out, cache=tmp_path / "cache")


def test_the_same_command_has_ended(args: AblationArgs) -> None:
    asked = state_asked(args)
    assert not has_ended(args, asked)
    assert not has_ended(replace(args, out=args.out / "new"), asked)
    args.cache.mkdir()
    note_end(args, asked)
    assert has_ended(args, state_asked(args))
    others = [replace(args, seeds=2), replace(args, table=None), replace(args, arms="lora")]
    study = StudyArgs(table=args.table, out=args.out, cache=args.cache, study="depth")
    for other in (*others, study):
        assert not has_ended(other, state_asked(other))


@pytest.mark.parametrize(
    "change",
    [
        lambda args, patch: overwrite_with_its_old_time(args.table.parent / "p00_0.png"),
        lambda args, patch: args.table.write_text(args.table.read_text() + "\n"),
        lambda args, patch: (args.out / "mlflow.db").write_text("more"),
        lambda args, patch: (args.out / "report.pdf").write_text("another"),
        lambda args, patch: (args.out / ".ended.json").write_text("[" * 9),
        lambda args, patch: patch.setenv("REPORT_LANG", "zh"),
        lambda args, patch: patch.setattr("importlib.metadata.distributions", lambda: ()),
    ],
    ids=["image", "table", "store", "report", "note", "language", "packages"],
)
def test_it_has_not_where_something_changed(
    change: Callable[[AblationArgs, pytest.MonkeyPatch], object],
    args: AblationArgs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    note_end(args, state_asked(args))
    change(args, monkeypatch)
    assert not has_ended(args, state_asked(args))


def test_what_changes_under_way_is_a_change(args: AblationArgs) -> None:
    assert args.table is not None
    asked = state_asked(args)
    put_another_in_its_place(args.table.parent / "p01_1.png")
    note_end(args, asked)
    assert not has_ended(args, state_asked(args))
