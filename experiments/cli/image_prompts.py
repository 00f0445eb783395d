"""Image files with their prompts, as `experiments/predict.py` is given them."""

import io
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from qa_core.data.decode import SUFFIXES
from qa_core.data.path_match import PathMatch
from qa_core.errors import UserError, visible

_SHOWN = 5
_NAMES = ("name", "image", "path", "image_path", "file", "filename")
_PROMPTS = ("prompt", "caption", "text")
"""Headings of the two columns, in the order in which they are looked for."""
_TABLES = (".csv", ".xlsx", ".xlsm", ".json", ".jsonl", ".ndjson", ".parquet")


def read_pairs(
    images: str, prompts: Path | None, needs_prompts: bool = True
) -> Iterator[tuple[Path, str]]:
    """Image files with their prompts, one at a time.

    Args:
        images: A folder, an image, a file with a path a line, or - for such lines on stdin.
        prompts: A table by name, or a text file; None where they stand beside the paths.
        needs_prompts: Whether scores depend on them; without, they may be left out.

    Raises:
        UserError: Files are missing, or images and prompts do not go together.
    """
    if images != "-" and not Path(images).exists():
        raise UserError(f"There is no folder or list {images}.")
    if prompts is None:
        if _is_list(images):
            return _tabbed(_lines(images), images, needs_prompts)
        if needs_prompts:
            kind = "a folder" if Path(images).is_dir() else "an image"
            raise UserError(f"--images {images} is {kind}: say what was asked for by --prompts.")
        return ((path, "") for path in _paths(images))
    if not prompts.is_file():
        raise UserError(f"There is no file of prompts {prompts}.")
    if prompts.suffix.lower() in _TABLES:
        return _looked_up(images, *_table(prompts), prompts)
    texts = _without_blank_end(_text_lines(prompts))
    if not texts:
        raise UserError(f"{prompts} is empty.")
    if None not in _places(re.split(r"[,;\t]", texts[0])):
        return _looked_up(images, *_table(prompts), prompts)
    if any("\t" in text for text in texts):
        return _looked_up(images, *_tabs(texts, prompts), prompts)
    if len(texts) == 1:
        return ((path, texts[0]) for path in _paths(images))
    return _in_step(_paths(images), texts, prompts)


def _is_list(images: str) -> bool:
    path = Path(images)
    return images == "-" or (path.is_file() and path.suffix.lower() not in SUFFIXES)


def _paths(images: str) -> Iterator[Path]:
    if _is_list(images):
        return (Path(line) for line in _lines(images))
    if not Path(images).is_dir():
        return iter([Path(images)])
    files = _visible(Path(images))
    found = [path for path in files if path.suffix.lower() in SUFFIXES]
    _say_passed_over([path for path in files if path.suffix.lower() not in SUFFIXES])
    return iter(_any_of(found, images))


def _visible(folder: Path) -> list[Path]:
    """A folder's files, those of hidden folders and hidden ones (`._a.png`) left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(
        path
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _any_of(found: list[Path], images: str) -> list[Path]:
    if not found:
        kinds = ", ".join(sorted(SUFFIXES))
        raise UserError(f"There is no image in {images}; what counts as one: {kinds}.")
    return found


def _say_passed_over(files: list[Path]) -> None:
    if files:
        counts = Counter(path.suffix.lower() or "no ending" for path in files)
        kinds = ", ".join(f"{suffix} {count}" for suffix, count in sorted(counts.items()))
        print(visible(f"passed over by their endings: {kinds}"), file=sys.stderr)


def _lines(images: str) -> Iterator[str]:
    if images == "-":
        yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        return
    yield from (line for line in _text_lines(Path(images)) if line.strip())


def _text_lines(path: Path) -> Iterator[str]:
    from qa_core.data.tables.delimited import decoded

    yield from (line.rstrip("\n") for line in io.StringIO(decoded(path), newline=None))


def _without_blank_end(lines: Iterator[str]) -> list[str]:
    texts = list(lines)
    while texts and not texts[-1].strip():
        texts.pop()
    return texts


def _tabbed(lines: Iterator[str], source: str, needs_prompts: bool) -> Iterator[tuple[Path, str]]:
    for number, line in enumerate(lines, 1):
        if "\t" not in line and needs_prompts:
            raise UserError(f"{source}, line {number} has no tab and prompt; or give --prompts.")
        path, prompt = _two_cells(line, f"{source}, line {number}") if "\t" in line else (line, "")
        yield Path(path), prompt


def _two_cells(line: str, place: str) -> tuple[str, str]:
    path, prompt, *more = line.split("\t")
    if more:
        raise UserError(
            f"{place} has {2 + len(more)} cells; it takes a path, a tab and a prompt, or a first"
            f" line that names the columns, {_NAMES[0]} and {_PROMPTS[0]} among them."
        )
    return path, prompt


def _tabs(texts: list[str], source: Path) -> tuple[list[str], list[str]]:
    """Names and prompts of lines that are a path, a tab and a prompt."""
    rows: list[tuple[str, str]] = []
    for number, text in enumerate(texts, 1):
        if "\t" not in text:
            raise UserError(
                f"{source}, data row {number} has no tab, others have: each line is an image's"
                " path, a tab and its prompt, or none has one."
            )
        rows.append(_two_cells(text, f"{source}, data row {number}"))
    return [name for name, _ in rows], [prompt for _, prompt in rows]


def _places(header: Sequence[str]) -> list[int | None]:
    """Places of names and prompts in a header, whatever its case; None for what it lacks."""
    folded = [name.strip().casefold() for name in header]
    return [
        next((folded.index(name) for name in known if name in folded), None)
        for known in (_NAMES, _PROMPTS)
    ]


def _table(path: Path) -> tuple[list[str], list[str]]:
    """Names and prompts of a table with a header."""
    from qa_core.data.tables.cells import read_cells

    cells = read_cells(path)
    header = list(map(str, cells.columns))
    names, prompts = _places(header)
    if names is None or prompts is None:
        raise UserError(
            f"{path} has the columns {', '.join(header)}; it needs {_NAMES[0]} (or"
            f" {', '.join(_NAMES[1:])}) and {_PROMPTS[0]} (or {', '.join(_PROMPTS[1:])})."
        )
    return list(cells[header[names]]), list(cells[header[prompts]])


def _looked_up(
    images: str, names: list[str], prompts: list[str], table: Path
) -> Iterator[tuple[Path, str]]:
    """Each image with the prompt of the row that its path fits; what is left over is said."""
    for number, (name, prompt) in enumerate(zip(names, prompts, strict=True), 1):
        if not (name.strip() and prompt.strip()):
            lacks = f"{name} has no prompt" if name.strip() else "there is no name of an image"
            raise UserError(f"{table}, data row {number}: {lacks}; fill it in, or delete the row.")
    match = PathMatch(names, str(table))
    is_folder = images != "-" and Path(images).is_dir()
    paths = _visible(Path(images)) if is_folder else _paths(images)
    passed_over: list[Path] = []
    found = 0
    for path in paths:
        below = path.relative_to(images).as_posix() if is_folder else None
        row = match.row(path.absolute().as_posix() if is_folder else str(path), below)
        if row is not None:
            found += 1
            yield path, prompts[row]
        elif is_folder and path.suffix.lower() not in SUFFIXES:
            passed_over.append(path)
        else:
            raise UserError(f"{table} has no prompt for {path}.")
    if is_folder and not found:
        _any_of([], images)
    _say_passed_over(passed_over)
    if left := match.left():
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        shown = f"{', '.join(left[:_SHOWN])}{more}"
        said = f"named in {table} and not scored, for there is no such file: {shown}"
        print(visible(said), file=sys.stderr)


def _in_step(paths: Iterator[Path], texts: list[str], source: Path) -> Iterator[tuple[Path, str]]:
    for path, text in itertools.zip_longest(paths, texts):
        if path is None or text is None:
            raise UserError(f"{source} has {len(texts)} prompts, but there are not as many images.")
        yield path, text
