"""A server as a child process on this machine alone, once it answers, until its end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from qa_core.errors import UserError

HOST = "127.0.0.1"
_START_LIMIT_S = 120
_TO_END_S = 10


def end_on_ctrl_c() -> None:
    """Let SIGINT and SIGTERM end this process; a shell's background ignores the former."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


def check_port(port: int, target: str) -> None:
    """Refuse a port that cannot be listened on.

    Args:
        port: The port.
        target: The command of make that asks for it.

    Raises:
        UserError: It is out of range, taken or forbidden.
    """
    if not 0 < port < 2**16:
        raise UserError(f"PORT={port} is no port: choose one from 1024 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"Port {port} cannot be used ({error.strerror}): perhaps another make {target} is"
                f" open. Close it, or choose another port, as in make {target} PORT={_free_port()}."
            ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def server_running(
    words: Sequence[str],
    settings: Mapping[str, str],
    log: Path,
    health: str,
    patience_s: float = 0.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m` with these words, once it answers; ended on the way out.

    Args:
        words: The module and its arguments.
        settings: Variables of its environment beside those that all of our commands have.
        log: File of what it says.
        health: Address that answers once it is ready.
        patience_s: How long it may take, when it is to end, to answer what it was asked.

    Raises:
        UserError: It did not start.
    """
    from qa_core.records.mlflow_store import settle_environment

    environment = dict(os.environ)
    settle_environment(environment)
    programs = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**environment, "PATH": programs, **settings},
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
        is_asked = False
        try:
            _wait_until_it_answers(server, log, health)
            is_asked = True
            yield server
        finally:
            _end(server, patience_s if is_asked else 0.0)


def wait_for_the_end(server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until Ctrl-C.

    Raises:
        UserError: The server ended by itself.
    """
    print("\nCtrl-C ends it.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.wait()
        raise UserError(f"The server ended; its last words are in {log}.")


def _wait_until_it_answers(server: subprocess.Popen[bytes], log: Path, health: str) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(health, timeout=5).close()
            return
        time.sleep(0.2)
    raise UserError(f"The server did not start; {log} says why.")


def _end(server: subprocess.Popen[bytes], patience_s: float) -> None:
    """Let the server answer what it was asked for so long, then end it and what it started."""
    server.terminate()
    try:
        if patience_s and not _ends_within(server, 1):
            print(
                f"answers what it was asked, for {patience_s:g} s; Ctrl-C ends it now", flush=True
            )
            _ends_within(server, patience_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)  # not SIGKILL: semaphores would be left behind
        if not _ends_within(server, _TO_END_S):
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _ends_within(server: subprocess.Popen[bytes], seconds: float) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(seconds)
    return server.poll() is not None
