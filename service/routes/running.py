"""Running a request on an engine: its deadline, and a client that goes away."""

from __future__ import annotations

import asyncio

from fastapi import Request

from secateur.models.errors import InputError, shown
from secateur.models.types import PruneRequest, PruneResult
from secateur.service.batching.engine import Engine
from secateur.service.engines import Engines
from secateur.service.exchange import exchange_of
from secateur.service.limits import check_limits
from secateur.service.problems import ClientGoneError
from secateur.service.settings import Settings

TIMEOUT_HEADER = "X-Request-Timeout-Ms"


def engines(request: Request) -> Engines:
    """Return the engines of the app that serves a request."""
    found: Engines = request.app.state.engines
    return found


def timeout_s(request: Request) -> float:
    """Return the seconds that a request has, by its header or the settings.

    Raises:
        InputError: the header is not a number of milliseconds in range.
    """
    settings: Settings = request.app.state.settings
    given = request.headers.get(TIMEOUT_HEADER)
    if given is None:
        return settings.timeout_ms / 1e3
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:10]) <= settings.max_timeout_ms) or len(given) > 10:
        raise InputError(
            TIMEOUT_HEADER,
            f"{shown(given)} is not a whole number of milliseconds",
            f"give 1 to {settings.max_timeout_ms}",
        )
    return int(given) / 1e3


async def _until_gone(request: Request) -> None:
    """Wait until the client has closed the connection; the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def answer(request: Request, engine: Engine, prune_request: PruneRequest) -> PruneResult:
    """Run a request; should its client go away, what has not run is dropped.

    Raises:
        ClientGoneError: nobody is there to read the answer.
        InputError, EngineError: see `check_limits` and `Engine.prune`.
    """
    check_limits(request.app.state.settings, prune_request)
    work = asyncio.ensure_future(engine.prune(prune_request, timeout_s(request)))
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            result = work.result()
            exchange_of(request).answered(engine.name, prune_request, result)
            return result
        raise ClientGoneError
    finally:
        work.cancel()
        gone.cancel()
