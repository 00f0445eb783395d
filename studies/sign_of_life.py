"""A heartbeat in MLflow of the process that drives an ablation, for `make status` to read."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from qa_core.records.tracking import Tracker
from studies.board import Board

TAG = "sign_of_life"
EVERY_S = 10.0
FRESH_S = 6 * EVERY_S
"""Seconds without a heartbeat after which a driver on another machine is taken for dead."""


@dataclass(frozen=True)
class Sign:
    """The last heartbeat of a driver.

    Attributes:
        host: Its machine.
        process: Its process id there.
        at_s: When, in seconds since 1970.
        running: Names of the jobs that ran.
        left: Time left by the pace so far, in words, or nothing.
    """

    host: str
    process: int
    at_s: float
    running: tuple[str, ...] = ()
    left: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether the driver still lives, as far as can be seen from here."""
        if self.host != socket.gethostname():
            return time.time() - self.at_s < FRESH_S
        try:
            os.kill(self.process, 0)
        except OSError as error:
            return isinstance(error, PermissionError)
        return True


@contextlib.contextmanager
def signs_of_life(tracker: Tracker, board: Board) -> Iterator[None]:
    """A context that logs, every few seconds, who drives the ablation and which jobs run."""
    ended = threading.Event()

    def go_on() -> None:
        while True:
            with contextlib.suppress(Exception):  # missed once; if the store is gone, the jobs will
                # report it
                _write(tracker, board)
            if ended.wait(EVERY_S):
                return

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _write(tracker: Tracker, board: Board) -> None:
    assert tracker.ablation_id is not None
    running, left = tuple(board.running), board.time_left()
    sign = Sign(socket.gethostname(), os.getpid(), time.time(), running, left)
    tracker.log(tracker.ablation_id, tags={TAG: json.dumps(asdict(sign))})


def read_sign(text: str | None) -> Sign | None:
    """The sign in a tag, if there is one."""
    if text is None:
        return None
    content = json.loads(text)
    return Sign(**{**content, "running": tuple(content["running"])})
