"""One named study of the ablation in a folder. Run again, it goes on where it stopped."""

from dataclasses import dataclass
from typing import Literal

from experiments.ablation import AblationArgs, run_ablation
from qa_core import command_line as cli
from qa_core.errors import UserError
from qa_core.records.schema import TUNE, StudyName
from studies.profiles import StudyRequest


@dataclass(frozen=True, kw_only=True)
class StudyArgs(AblationArgs):
    """Run one study, and add it to the report."""

    study: Literal["tune", StudyName]
    """Name of the study. tune searches each mode's settings; the others measure a curve on the
    splits of the confirmation."""
    splits: int | None = None
    """Use only this many splits, the first ones (default: all of the profile)."""
    epochs: int | None = None
    """Epochs of each run (default: the profile's)."""


def main() -> None:
    """Parse the command line, run the study, build the report."""
    args = cli.parse(StudyArgs, str(StudyArgs.__doc__))
    cli.end_on_signals()
    run_ablation(args, request(args))


def request(args: StudyArgs) -> StudyRequest:
    """What the flags ask for.

    Raises:
        UserError: They make no sense.
    """
    for flag in ("splits", "epochs"):
        value = getattr(args, flag)
        if value is not None and value < 1:
            raise UserError(f"--{flag} {value} is less than 1.")
        if value is not None and args.study == TUNE:
            raise UserError(f"tune has the profile's size: leave out --{flag}.")
    return StudyRequest(args.study, args.splits, args.epochs)


if __name__ == "__main__":
    cli.run(main)
