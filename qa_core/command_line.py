"""What all command lines share: parsing flags, and one sentence for a user's mistake."""

import io
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from qa_core.errors import in_words

Args = TypeVar("Args")

_SAME_SIGNAL_S = 1.0
"""A second signal within this many seconds is ignored: the terminal sends Ctrl-C to `make` and to
the command, and `make` then sends it to the command once more."""


def parse(args_type: type[Args], description: str, argv: Sequence[str] | None = None) -> Args:
    """Parse flags (underscored, without group prefixes) into a dataclass."""
    return tyro.cli(
        args_type,
        description=description,
        args=argv,
        use_underscores=True,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def run(main: Callable[[], None], interrupted: str = "") -> None:
    """Run a command; a mistake of the user or a failing machine becomes a sentence and exit code 2.

    With `--debug` among the flags the traceback is shown instead.

    Args:
        main: The command.
        interrupted: What to do after Ctrl-C, where the interruption itself does not say it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal of few letters shows ? for others
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output, as `head` does, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt as interruption:
        told = str(interruption) or interrupted
        print(": ".join(filter(None, ("interrupted", told))), file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        words = in_words(error)
        if words is None or "--debug" in sys.argv:
            raise
        print(f"error: {words}", file=sys.stderr)
        sys.exit(2)


class Interruption(KeyboardInterrupt):
    """What a signal raises.

    Where a KeyboardInterrupt itself passes Python code that a C library runs, as some do while they
    are imported, `python -m` ends by SIGINT whatever exit code was given.
    """


_signalled: float | None = None
"""When the first signal came."""


def heed_signals() -> None:
    """Raise again what a signal has raised, and what got lost.

    Callbacks of weak references, and C code that asks whether an object has an attribute, drop
    whatever is raised meanwhile: one Ctrl-C in fifty did nothing while modes were tried.
    """
    if _signalled is not None:
        raise Interruption


def end_on_signals() -> None:
    """Let SIGTERM end this process as Ctrl-C does; a second signal ends it at once.

    For commands that lose nothing when killed, so that nobody has to wait for an orderly end.
    """

    def end(number: int, frame: object) -> None:
        global _signalled
        if _signalled is None:
            _signalled = time.monotonic()
            raise Interruption
        if time.monotonic() > _signalled + _SAME_SIGNAL_S:
            os.write(2, b"ended at once; the same command goes on from here\n")
            os._exit(130)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
