"""Score one's own images with a trained checkpoint: a CSV, and a contact sheet."""

import contextlib
import csv
import heapq
import itertools
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experiments.cli.contact_sheet import ScoredImage, write_contact_sheet
from experiments.cli.image_prompts import read_pairs
from qa_core import command_line as cli
from qa_core.errors import UserError, visible
from qa_core.system.files import written_whole

if TYPE_CHECKING:
    from qa_core.scorer import Scorer

INTERRUPTED = "the CSV ends with the last image scored"
"""What is said after Ctrl-C."""


@dataclass(frozen=True)
class PredictArgs:
    """Score images; those that cannot be read are listed and skipped."""

    checkpoint: Path
    """A best checkpoint of experiments/baseline.py or of an ablation; or an ablation's folder, for
    its champion."""
    images: str
    """A folder, an image, a file with one path a line, or - for such lines on standard input."""
    prompts: Path | None = None
    """A table with name,prompt (CSV, .xlsx, JSON, parquet); or a text file with one prompt for all
    images, one line per image, or lines of a path, a tab and a prompt. Without it, each line of
    --images holds a path, a tab and a prompt. Not needed where the checkpoint scores quality
    alone."""
    out: Path = Path("scores.csv")
    """The CSV to write."""
    sheet: Path | None = None
    """An HTML contact sheet to write, sorted by score."""
    sort_by: Literal["q", "c"] = "q"
    """The score that the sheet is sorted by."""
    sheet_images: int = 400
    """Most images on the sheet: half of them the highest, half the lowest."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    debug: bool = False
    """Show the traceback of an error as well."""


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
    pairs = None if args.prompts is None else read_pairs(args.images, args.prompts)
    from qa_core.records.schema import CARD_FILE
    from qa_core.scorer import Scorer  # torch: mistakes in the flags come first
    from qa_core.serving.champion import find_checkpoint

    scorer = Scorer.load(find_checkpoint(args.checkpoint), args.device)
    if pairs is None:
        pairs = read_pairs(args.images, None, scorer.needs_prompts)
    if args.sheet is not None and args.sort_by not in scorer.columns:
        raise UserError(f"--sort_by {args.sort_by}: this checkpoint has no such score.")
    extremes = Extremes(args.sheet_images if args.sheet is not None else 0)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with _beside(args.out) as target:
        scored, lost = _write_scores(target, scorer, pairs, extremes, args.sort_by)
        if not scored:
            raise UserError(f"Nothing was scored: {lost} unreadable. {args.out} is not written.")
    print(f"{scored} images scored, {lost} unreadable: {args.out}")
    if (card := args.checkpoint / CARD_FILE).is_file():
        print(f"how good these scores are: {card}")
    if args.sheet is not None:
        shown = extremes.ordered()
        write_contact_sheet(args.sheet, shown, args.sort_by, scored, lost, scorer.ranges)
        print(f"contact sheet: {args.sheet}")


@contextlib.contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A temporary file that replaces the file of this name on success, or when interrupted.

    What was there stays until then. A device or a pipe is written as it is.
    """
    if out.exists() and not out.is_file():
        yield out
        return
    interruption: KeyboardInterrupt | None = None
    with written_whole(out.resolve()) as scratch:  # the file that a link names
        try:
            yield scratch
        except KeyboardInterrupt as error:
            if not scratch.exists():
                raise
            interruption = error
    if interruption is not None:
        raise interruption


def _write_scores(
    target: Path,
    scorer: "Scorer",
    pairs: Iterator[tuple[Path, str]],
    extremes: "Extremes",
    sort_by: str,
) -> tuple[int, int]:
    """Write the CSV; returns how many images were scored, and how many could not be read."""
    from qa_core.scorer import Unreadable

    scored, lost = 0, 0
    with target.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(["image", "prompt", *scorer.columns])
        for (path, prompt), found in _with_progress(scorer, pairs):
            if isinstance(found, Unreadable):
                lost += 1
                print(visible(f"unreadable: {path}: {found.reason}"), file=sys.stderr)
                continue
            scored += 1
            values = (found[name] for name in scorer.columns)
            table.writerow([path, prompt, *("" if math.isnan(v) else v for v in values)])
            if extremes.size:
                extremes.add(found[sort_by], ScoredImage(path, prompt, found))
    return scored, lost


def _with_progress(scorer: "Scorer", pairs: Iterator[tuple[Path, str]]) -> Iterator[tuple]:
    """Each pair with what was found of it, a bar moving along; pairs are read when needed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    given, fed = itertools.tee(pairs)  # the scorer decodes so many images ahead
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("scoring", total=None)
        for pair, found in zip(given, scorer.stream(fed), strict=True):
            bar.advance(task)
            yield pair, found


@dataclass
class Extremes:
    """The highest and the lowest of what was added, in memory that does not grow.

    Attributes:
        size: How many to keep at most.
    """

    size: int
    _all: int = 0
    _high: list[tuple[float, int, ScoredImage]] = field(default_factory=list)
    _low: list[tuple[float, int, ScoredImage]] = field(default_factory=list)

    def add(self, score: float, image: ScoredImage) -> None:
        """Keep an image if it is among the extremes."""
        self._all += 1
        for heap, key, size in (
            (self._high, score, -(-self.size // 2)),
            (self._low, -score, self.size // 2),
        ):
            entry = (key, -self._all, image)
            heapq.heappush(heap, entry) if len(heap) < size else heapq.heappushpop(heap, entry)

    def ordered(self) -> list[ScoredImage]:
        """What was kept, the highest first."""
        kept = {-number: (key, image) for key, number, image in self._high}
        kept |= {-number: (-key, image) for key, number, image in self._low}
        ranked = sorted(kept.items(), key=lambda item: (-item[1][0], item[0]))
        return [image for _, (_, image) in ranked]


if __name__ == "__main__":
    cli.run(main, INTERRUPTED)
