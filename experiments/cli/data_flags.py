"""The flags that choose the rated images, the same on every command line."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from qa_core.errors import UserError
from qa_core.settings.data import DatasetName


@dataclass(frozen=True)
class DataFlags:
    """Which rated images; the embedded benchmark without any flag."""

    data: Path | None = None
    """Folder with data.csv and its images; or, with --data_root, the name of a published data set:
    agiqa3k, aigciqa2023, agiqa1k, pku_aigiqa4k, aigiqa20k, evalmuse40k, evalmi50k, qeval100k,
    genai_bench."""
    data_root: Path | None = None
    """The folder of the data set that --data names, as unpacked."""
    data_test: Path | None = None
    """A second data set to test on: a folder with data.csv; or, with --data_test_root, a name."""
    data_test_root: Path | None = None
    """The folder of the data set that --data_test names."""
    table: Path | None = None
    """Table (CSV, .xlsx, JSON, JSON lines, parquet) with name,prompt,mos_quality,mos_align, instead
    of --data."""
    columns: tuple[str, ...] = ()
    """Columns that the table calls otherwise, as OURS=THEIRS: name=image prompt=caption ..."""
    images: Path | None = None
    """Folder that image names are relative to (default: found near the table)."""
    range_q: str | None = None
    """Nominal range of the quality scores, LOW:HIGH."""
    range_c: str | None = None
    """Nominal range of the consistency scores, LOW:HIGH."""


def data_settings(flags: DataFlags) -> dict[str, Any]:
    """The settings of `DataConfig` by name.

    Raises:
        UserError: Flags contradict each other or name what is not there.
    """
    settings: dict[str, Any] = {
        "mos_range_q": parse_range("range_q", flags.range_q),
        "mos_range_c": parse_range("range_c", flags.range_c),
        "columns": flags.columns,
    }
    settings |= _tested(flags)
    if flags.images is not None and not flags.images.is_dir():
        raise UserError(f"There is no image folder {flags.images}.")
    if flags.data is not None and flags.table is not None:
        raise UserError("--data names table and images: leave out --table.")
    if flags.data is not None and (name := _published(flags.data, flags.data_root)):
        root = _folder_of("data", flags.data, flags.data_root)
        images = None if flags.images is None else str(flags.images)
        return settings | {"dataset": name, "data_root": root, "image_base_dir": images}
    if flags.data_root is not None:
        raise UserError("--data_root needs --data beside it, the name of a published data set.")
    return settings | _own_table(flags)


def _published(data: Path, root: Path | None) -> str | None:
    """The data set that a name like AGIQA-3K means; None where it means a folder.

    Raises:
        UserError: It is neither.
    """
    known = {_plain(name): name for name in get_args(DatasetName)}
    name = known.get(_plain(str(data)))
    if name is not None and (root is not None or str(data) == name or not data.is_dir()):
        return name
    if data.is_dir() and root is None:
        return None
    near = difflib.get_close_matches(_plain(str(data)), known, 1)
    meant = f" Did you mean {known[near[0]]}?" if near else ""
    raise UserError(
        f"{data} is no folder and no data set that is known: {', '.join(known.values())}.{meant}"
        if root is None
        else f"{data} is no data set that is known: {', '.join(known.values())}.{meant}"
    )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _folder_of(flag: str, name: Path, root: Path | None) -> str:
    if root is None:
        raise UserError(f"--{flag} {name} needs --{flag}_root, the folder where it was unpacked.")
    if not root.is_dir():
        raise UserError(f"There is no folder {root}.")
    return str(root)


def _tested(flags: DataFlags) -> dict[str, Any]:
    if flags.data_test is None:
        if flags.data_test_root is not None:
            raise UserError("--data_test_root needs --data_test beside it, a data set's name.")
        return {}
    if name := _published(flags.data_test, flags.data_test_root):
        root = _folder_of("data_test", flags.data_test, flags.data_test_root)
        return {"test_dataset": name, "test_root": root}
    return {
        "test_dataset": "csv",
        "test_root": _folder_of("data_test", flags.data_test, flags.data_test),
    }


def _own_table(flags: DataFlags) -> dict[str, Any]:
    table, images = flags.table, flags.images
    if flags.data is not None:
        if images is not None:
            raise UserError("--data names table and images: leave out --images.")
        table, images = flags.data / "data.csv", flags.data / "images"
        images = images if images.is_dir() else flags.data
    if table is not None and not table.is_file():
        raise UserError(f"There is no table {table}.")
    return {
        "data_csv_path": None if table is None else str(table),
        "image_base_dir": None if images is None else str(images),
    }


def parse_range(flag: str, text: str | None) -> tuple[float, float] | None:
    """(low, high) from LOW:HIGH.

    Raises:
        UserError: The text is of another form.
    """
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise UserError(f"--{flag} {text!r} is not of the form LOW:HIGH, as in 1:5.") from None
    return low, high
