"""A look at rated images before anything is trained on them: a summary, and every problem."""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments.cli.data_flags import DataFlags, data_settings
from qa_core import command_line as cli
from qa_core.config import RunConfig, run_config_from_flat


@dataclass(frozen=True)
class CheckArgs(DataFlags):
    """Summarise rated images and name every problem with its row (exit code 1 if any)."""

    backbone: str = "qa-tiny"
    """The open_clip model, or folder, whose context prompts are measured against."""
    tokenizer: Path | None = None
    """Folder with tokenizer.json (default: the backbone's own)."""
    cache: Path = Path(".cache")
    """Where the embedded benchmark is rendered."""
    debug: bool = False
    """Show the traceback of a mistake as well."""


def main() -> None:
    """Parse the command line and check."""
    problems = check(cli.parse(CheckArgs, str(CheckArgs.__doc__)))
    sys.exit(1 if problems else 0)


def check(args: CheckArgs) -> list[str]:
    """Print summary and problems; returns the problems.

    Raises:
        UserError: There is no table to look at.
    """
    from qa_core.data.tables.cells import TableError

    config = run_config_from_flat(
        data_settings(args)
        | {"backbone": args.backbone}
        | {"tokenizer": None if args.tokenizer is None else str(args.tokenizer)}
    )
    try:
        problems = _look(config, args.cache)
    except TableError as error:
        problems = [
            *error.problems,
            "images and prompt lengths were not looked at: mend these first",
        ]
    for problem in problems:
        print(f"problem: {problem}")
    print(f"\n{len(problems)} problems" if problems else "\nno problems")
    return problems


def _look(config: RunConfig, cache: Path) -> list[str]:
    from rich.progress import Progress

    from qa_core.backbones.backbone import load_tokenizer
    from qa_core.data.check import image_problems, prompt_problems, summarise
    from qa_core.data.open_table import open_table

    table = open_table(config.data, config.loss.explanation_column, cache)
    print(summarise(table), end="\n\n")
    paths = [Path(path) for path in table.frame["image_path"]]
    with Progress(transient=True, disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task("decoding", total=len(paths))
        problems = image_problems(paths, lambda done, total: bar.update(task, completed=done))
    return problems + prompt_problems(table.frame["prompt"].tolist(), load_tokenizer(config.clip))


if __name__ == "__main__":
    cli.run(main)
