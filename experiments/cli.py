"""What every command line of this project does alike: parse, and tell a user's mistake kindly."""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from qa_core.errors import UserError

Args = TypeVar("Args")


def parse(args_type: type[Args], description: str, argv: Sequence[str] | None = None) -> Args:
    """Parse flags (underscored, without group prefixes) into a dataclass."""
    return tyro.cli(
        args_type,
        description=description,
        args=argv,
        use_underscores=True,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def run(main: Callable[[], None]) -> None:
    """Run a command; a user's mistake becomes one sentence and exit code 2.

    With `--debug` among the flags the traceback is shown as well.
    """
    try:
        main()
    except UserError as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
