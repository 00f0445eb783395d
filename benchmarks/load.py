"""A client that keeps so many requests at once in flight, and tells how each was answered.

It is a process of its own, which shares no interpreter with what it measures:
`python -m benchmarks.load PORT AT_ONCE BODIES`, a file of one JSON request a line.
"""

import http.client
import itertools
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HOST = "127.0.0.1"
_LIMIT_S = 60
_HEADERS = {"Content-Type": "application/json"}


class Load(NamedTuple):
    """What came of a load.

    Attributes:
        failed: How many requests had no score for an answer.
        seconds: From the first request to the last answer.
        waits_s: Of every request, in no order.
    """

    failed: int
    seconds: float
    waits_s: list[float]


def send(port: int, at_once: int, bodies: list[bytes]) -> Load:
    """Send every request once, over as many connections as requests are in flight."""
    waiting = iter(bodies)  # a list's, which threads may share
    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        clients = [pool.submit(_client, port, waiting) for _ in range(at_once)]
        answers = list(itertools.chain.from_iterable(client.result() for client in clients))
    seconds = time.perf_counter() - started
    failed = len(bodies) - sum(good for good, _ in answers)
    return Load(failed, seconds, [wait for _, wait in answers])


def _client(port: int, waiting: Iterator[bytes]) -> list[tuple[bool, float]]:
    """Whether each request was answered by a score, and its seconds; one connection for all."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_LIMIT_S)
    answers: list[tuple[bool, float]] = []
    for body in waiting:
        started = time.perf_counter()
        try:
            connection.request("POST", "/invocations", body, _HEADERS)
            reply = connection.getresponse()
            good = reply.read().startswith(b'{"predictions": [{') and reply.status == 200
        except (OSError, http.client.HTTPException):
            connection.close()  # the next request opens it again
            good = False
        answers.append((good, time.perf_counter() - started))
    return answers


if __name__ == "__main__":
    port, at_once, file = sys.argv[1:]
    found = send(int(port), int(at_once), Path(file).read_bytes().splitlines())
    print(json.dumps(found._asdict()))
