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
from reports.current import HTML, PDF, RESULTS, is_current, note_built


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


def test_inputs_in_the_folder_of_results_are_never_taken_for_unchanged(args: AblationArgs) -> None:
    assert args.table is not None
    for own in (replace(args, out=args.table.parent), replace(args, cache=args.table.parent)):
        asked = state_asked(own)
        note_end(own, asked)
        assert asked is None and not has_ended(own, asked)


def test_too_many_files_cannot_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    assert state_of([tmp_path]) is not None
    monkeypatch.setattr("qa_core.system.unchanged.MOST", 2)
    assert state_of([tmp_path]) is None


def test_what_may_not_be_looked_at_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a").touch()
    before = state_of([tmp_path])
    stat = Path.stat

    def refuse(self: Path, **how: bool) -> os.stat_result:
        if self.name == "closed":
            raise PermissionError(13, "Permission denied", str(self))
        return stat(self, **how)

    monkeypatch.setattr(Path, "stat", refuse)
    assert state_of([tmp_path]) == before


def test_a_report_is_current_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (PDF, HTML, RESULTS):
        (tmp_path / name).touch()
    assert not is_current(tmp_path, 5)
    monkeypatch.setenv("REPORT_LANG", "zh")
    note_built(tmp_path, 5)
    assert is_current(tmp_path, 5)
    assert not is_current(tmp_path, 4) and not is_current(tmp_path, 6)
    monkeypatch.delenv("REPORT_LANG")
    assert is_current(tmp_path, 5)  # nobody asks for another language
    monkeypatch.setenv("REPORT_LANG", "en")
    assert not is_current(tmp_path, 5)
    monkeypatch.delenv("REPORT_LANG")
    monkeypatch.setattr("reports.current.CODE", [tmp_path])
    assert not is_current(tmp_path, 5)
    note_built(tmp_path, 5)
    (tmp_path / HTML).unlink()
    assert not is_current(tmp_path, 5)


def test_what_changes_under_way_is_a_change(args: AblationArgs) -> None:
    assert args.table is not None
    asked = state_asked(args)
    put_another_in_its_place(args.table.parent / "p01_1.png")
    note_end(args, asked)
    assert not has_ended(args, state_asked(args))
