"""The server of a registered model: `python -m qa_core.serving.server FOLDER HOST PORT WORKERS`.

Addresses and formats are those of MLflow's own server, whose threads wait for each other. Here the
next process that is free takes a request, and does nothing else until it is answered.
"""

import asyncio
import contextlib
import importlib.metadata
import logging
import multiprocessing
import sys
from collections.abc import AsyncIterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from qa_core.serving.answers import IMPORTS, Answer, answer, is_loaded, load, told

MOST_BODY = 128 * 2**20
"""Bytes of a request: the most that its images may have, in base64, and prompts."""
TOO_LARGE = told("The request has more than 128 MiB.", 413, "INVALID_PARAMETER_VALUE")


class Workers:
    """Processes that hold the whole model each.

    Args:
        folder: The model, as MLflow keeps it.
        count: How many.
    """

    def __init__(self, folder: str, count: int):
        self._folder, self._count = folder, count
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(IMPORTS)
        self._pool = self._started()

    async def ready(self) -> None:
        """Start all, and wait until they can answer."""
        starts = [self._pool.submit(is_loaded) for _ in range(self._count)]
        await asyncio.gather(*map(asyncio.wrap_future, starts))

    async def answer(self, body: bytes, content_type: str) -> Answer:
        """What the next free one answers; where one has died, all are started anew."""
        loop, pool = asyncio.get_running_loop(), self._pool
        try:
            found = loop.run_in_executor(pool, answer, body, content_type)
        except BrokenExecutor:  # one died before
            self._renew(pool)
            found = loop.run_in_executor(self._pool, answer, body, content_type)
        pool = self._pool
        try:
            return await found
        except BrokenExecutor:
            self._renew(pool)
            return told("A process died while this request waited: send it again.", 503)

    def _renew(self, broken: ProcessPoolExecutor) -> None:
        """Start all anew, if nobody has done so."""
        if broken is self._pool:
            logging.error("A process that answers requests has died; all are started anew.")
            self._pool = self._started()

    def close(self) -> None:
        """End them."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._count, self._context, load, (self._folder,))


async def body_of(request: Request) -> bytes | None:
    """What a client sent; None, and nothing kept of it, where that is too much."""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        pieces.append(piece)
        if size > MOST_BODY:
            pieces.clear()
    return b"".join(pieces) if size <= MOST_BODY else None


def application(workers: Workers) -> Starlette:
    """The addresses `/invocations`, `/ping`, `/health` and `/version`."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await workers.ready()
        yield
        workers.close()

    async def invocations(request: Request) -> Response:
        body, kind = await body_of(request), request.headers.get("content-type", "")
        found = TOO_LARGE if body is None else await workers.answer(body, kind)
        return Response(found.text, found.status, media_type=found.media_type)

    async def ping(_: Request) -> Response:
        return Response("\n", media_type="application/json")

    async def version(_: Request) -> Response:
        return Response(importlib.metadata.version("mlflow"), media_type="application/json")

    routes = [Route("/invocations", invocations, methods=["POST"]), Route("/version", version)]
    routes += [Route(path, ping) for path in ("/ping", "/health")]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    """Serve until a signal ends it."""
    folder, host, port, count = sys.argv[1:]
    app = application(Workers(folder, int(count)))
    uvicorn.run(app, host=host, port=int(port), access_log=False)


if __name__ == "__main__":
    main()
