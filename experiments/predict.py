"""Score one's own images with a trained checkpoint: a CSV, and a contact sheet."""

import csv
import heapq
import itertools
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experiments.cli.contact_sheet import Scored, write_contact_sheet
from qa_core import command_line as cli
from qa_core.errors import UserError

if TYPE_CHECKING:
    from qa_core.scorer import Scorer

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"}


@dataclass(frozen=True)
class PredictArgs:
    """Score images; those that cannot be read are listed and skipped."""

    checkpoint: Path
    """A best checkpoint of experiments/baseline.py or of an ablation."""
    images: str
    """A folder, a file with one path a line, or - for such lines on standard input."""
    prompts: Path | None = None
    """A CSV with name,prompt, or a text file: one prompt for all images, or one a line for each.
    Without it, each line of --images is a path, a tab, and its prompt. A checkpoint that scores
    quality alone needs none."""
    out: Path = Path("scores.csv")
    """The CSV to write."""
    sheet: Path | None = None
    """An HTML contact sheet to write, sorted by score."""
    sort_by: Literal["q", "c"] = "q"
    """The score that the sheet is sorted by."""
    sheet_images: int = 400
    """The most images on the sheet: as many of the highest as of the lowest."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    debug: bool = False
    """Show the traceback of a mistake as well."""


def main() -> None:
    """Parse the command line and score."""
    predict(cli.parse(PredictArgs, str(PredictArgs.__doc__)))


def predict(args: PredictArgs) -> None:
    """Write the CSV and the sheet, and say how many images were scored.

    Raises:
        UserError: Checkpoint, images or prompts cannot be used.
    """
    if args.sheet_images < 1:
        raise UserError(f"--sheet_images {args.sheet_images} is less than 1.")
    _require_there(args.images)
    pairs = None if args.prompts is None else read_pairs(args.images, args.prompts)
    from qa_core.scorer import Scorer, Unreadable  # torch: mistakes in the flags come first

    scorer = Scorer.load(args.checkpoint, args.device)
    if pairs is None:
        pairs = read_pairs(args.images, None) if scorer.needs_prompts else bare_paths(args.images)
    if args.sheet is not None and args.sort_by not in scorer.columns:
        raise UserError(f"--sort_by {args.sort_by}: this checkpoint has no such score.")
    extremes = Extremes(args.sheet_images if args.sheet is not None else 0)
    scored, lost = 0, 0
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(["image", "prompt", *scorer.columns])
        for (path, prompt), found in _with_progress(scorer, pairs):
            if isinstance(found, Unreadable):
                lost += 1
                print(f"unreadable: {path}: {found.reason}", file=sys.stderr)
                continue
            scored += 1
            values = (found[name] for name in scorer.columns)
            table.writerow([path, prompt, *("" if math.isnan(v) else v for v in values)])
            if args.sheet is not None:
                extremes.add(found[args.sort_by], Scored(path, prompt, found))
    print(f"{scored} images scored, {lost} unreadable: {args.out}")
    if args.sheet is not None:
        write_contact_sheet(args.sheet, extremes.ordered(), args.sort_by, scored, lost)
        print(f"contact sheet: {args.sheet}")


def _with_progress(scorer: "Scorer", pairs: Iterator[tuple[Path, str]]) -> Iterator[tuple]:
    """Each pair with what was found of it, a bar moving along; pairs are read when needed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    given, fed = itertools.tee(pairs)  # at most as far apart as the scorer decodes ahead
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("scoring", total=None)
        for pair, found in zip(given, scorer.stream(fed), strict=True):
            bar.advance(task)
            yield pair, found


def read_pairs(images: str, prompts: Path | None) -> Iterator[tuple[Path, str]]:
    """Image files with their prompts, one at a time.

    Raises:
        UserError: Files are missing, or images and prompts do not go together.
    """
    _require_there(images)
    if prompts is None:
        if images != "-" and Path(images).is_dir():
            raise UserError(f"--images {images} is a folder: say what was asked for by --prompts.")
        return _tabbed(_lines(images), images)
    if not prompts.is_file():
        raise UserError(f"There is no file of prompts {prompts}.")
    if prompts.suffix.lower() == ".csv":
        return _looked_up(_paths(images), prompts)
    texts = list(_text_lines(prompts))
    if not texts:
        raise UserError(f"{prompts} is empty.")
    if len(texts) == 1:
        return ((path, texts[0]) for path in _paths(images))
    return _in_step(_paths(images), texts, prompts)


def _require_there(images: str) -> None:
    if images != "-" and not Path(images).exists():
        raise UserError(f"There is no folder or list {images}.")


def bare_paths(images: str) -> Iterator[tuple[Path, str]]:
    """Image files without prompts; what stands behind a tab in a list is passed over."""
    return ((Path(str(path).partition("\t")[0]), "") for path in _paths(images))


def _paths(images: str) -> Iterator[Path]:
    if images != "-" and Path(images).is_dir():
        found = [path for path in Path(images).rglob("*") if path.suffix.lower() in SUFFIXES]
        if not found:
            kinds = ", ".join(sorted(SUFFIXES))
            raise UserError(f"There is no image in {images}; what counts as one: {kinds}.")
        return iter(sorted(found))
    return (Path(line) for line in _lines(images))


def _lines(images: str) -> Iterator[str]:
    if images == "-":
        yield from (line.rstrip("\n") for line in sys.stdin if line.strip())
        return
    yield from (line for line in _text_lines(Path(images)) if line.strip())


def _text_lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from (line.rstrip("\n") for line in file)
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8.") from None


def _tabbed(lines: Iterator[str], source: str) -> Iterator[tuple[Path, str]]:
    for number, line in enumerate(lines, 1):
        path, tab, prompt = line.partition("\t")
        if not tab:
            raise UserError(f"{source}, line {number} has no tab and prompt; or give --prompts.")
        yield Path(path), prompt


def _looked_up(paths: Iterator[Path], table: Path) -> Iterator[tuple[Path, str]]:
    """Prompts by an image's name: the longest end of its path that the table has."""
    from qa_core.data.tables.cells import read_cells, require_columns

    cells = read_cells(table)
    require_columns(cells, table, ("name", "prompt"))
    prompt_of = dict(zip(cells["name"], cells["prompt"], strict=True))
    for path in paths:
        ends = ("/".join(path.parts[start:]) for start in range(len(path.parts)))
        name = next((end for end in ends if end in prompt_of), None)
        if name is None:
            raise UserError(f"{table} has no prompt for {path}.")
        yield path, prompt_of[name]


def _in_step(paths: Iterator[Path], texts: list[str], source: Path) -> Iterator[tuple[Path, str]]:
    for path, text in itertools.zip_longest(paths, texts):
        if path is None or text is None:
            raise UserError(f"{source} has {len(texts)} prompts, but there are not as many images.")
        yield path, text


@dataclass
class Extremes:
    """The highest and the lowest of what was added, in memory that does not grow.

    Attributes:
        size: How many to keep at most.
    """

    size: int
    _all: int = 0
    _high: list[tuple[float, int, Scored]] = field(default_factory=list)
    _low: list[tuple[float, int, Scored]] = field(default_factory=list)

    def add(self, score: float, image: Scored) -> None:
        """Keep an image if it is among the extremes."""
        self._all += 1
        for heap, key, size in (
            (self._high, score, -(-self.size // 2)),
            (self._low, -score, self.size // 2),
        ):
            entry = (key, -self._all, image)
            heapq.heappush(heap, entry) if len(heap) < size else heapq.heappushpop(heap, entry)

    def ordered(self) -> list[Scored]:
        """What was kept, the highest first."""
        kept = {-number: (key, image) for key, number, image in self._high}
        kept |= {-number: (-key, image) for key, number, image in self._low}
        ranked = sorted(kept.items(), key=lambda item: (-item[1][0], item[0]))
        return [image for _, (_, image) in ranked]


if __name__ == "__main__":
    cli.run(main, "the CSV ends with the last image scored")
