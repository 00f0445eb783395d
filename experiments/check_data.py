"""A check of rated images before anything is trained on them: summary, problems and notes."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cli.data_flags import DataFlags, data_settings
from qa_core import command_line as cli
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.errors import visible
from qa_core.settings.model import EMBEDDED_BACKBONE

if TYPE_CHECKING:
    from qa_core.data.findings import Finding


@dataclass(frozen=True)
class CheckArgs(DataFlags):
    """Summarise rated images and list problems (exit code 1 if any) and notes, with their rows."""

    backbone: str = EMBEDDED_BACKBONE
    """open_clip model or folder, whose context length the prompts are checked against."""
    tokenizer: Path | None = None
    """Folder with tokenizer.json (default: the backbone's own)."""
    cache: Path = Path(".cache")
    """Where the embedded benchmark is rendered."""
    debug: bool = False
    """Show the traceback of an error as well."""


def main() -> None:
    """Parse the command line and check."""
    problems, _ = check(cli.parse(CheckArgs, str(CheckArgs.__doc__)))
    sys.exit(1 if problems else 0)


def check(args: CheckArgs) -> "tuple[list[Finding], list[Finding]]":
    """Print a summary, problems and notes; returns both.

    Raises:
        UserError: There is no table to look at.
    """
    from qa_core.data.findings import Finding, TableError, told

    config = run_config_from_flat(
        data_settings(args)
        | {"backbone": args.backbone}
        | {"tokenizer": None if args.tokenizer is None else str(args.tokenizer)}
    )
    try:
        problems, notes = _look(config, args.cache)
    except TableError as error:
        later = "images and prompt lengths were not looked at: mend these first"
        problems, notes = list(error.findings), [Finding(later, later)]
    for word, found in (("problem", problems), ("note", notes)):
        for sentence in told(found):
            print(visible(f"{word}: {sentence}"))
    print(f"{_counted(problems, 'problem')}, {_counted(notes, 'note')}")
    return problems, notes


def _counted(found: "list[Finding]", word: str) -> str:
    return f"{len(found) or 'no'} {word}{'' if len(found) == 1 else 's'}"


def _look(config: RunConfig, cache: Path) -> "tuple[list[Finding], list[Finding]]":
    """Problems, which would stop training, and notes, which would not."""
    from rich.progress import Progress

    from qa_core.backbones.backbone import load_tokenizer
    from qa_core.data.check import copy_notes, image_findings, prompt_notes, summarise
    from qa_core.data.findings import Finding
    from qa_core.data.open_table import open_table

    table = open_table(config.data, config.loss.explanation_column, cache)
    print(visible(summarise(table)), end="\n\n")
    table.draw_images()
    paths = [Path(path) for path in table.frame["image_path"]]
    with Progress(transient=True, disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task("decoding", total=len(paths))
        problems, moving = image_findings(
            paths, lambda done, total: bar.update(task, completed=done)
        )
    notes = [Finding(note, note) for note in table.notes] + moving + copy_notes(paths)
    if table.has_prompts:
        notes += prompt_notes(table.frame["prompt"].tolist(), load_tokenizer(config.clip))
    return problems, notes


if __name__ == "__main__":
    cli.run(main)
