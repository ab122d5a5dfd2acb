"""Running a request on an engine: its deadline, a client that goes away, and the response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import Request, Response

from secateur.models.errors import InputError, shown
from secateur.models.types import PruneRequest, PruneResult
from secateur.service.batching.engine import Engine
from secateur.service.engines import Engines
from secateur.service.exchange import exchange_of
from secateur.service.limits import check_limits
from secateur.service.problems import ClientGoneError
from secateur.service.settings import Settings
from secateur.service.threads import is_large, off_loop

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
            await answered(request, engine, prune_request, result)
            return result
        raise ClientGoneError
    finally:
        work.cancel()
        gone.cancel()


async def answered(request: Request, engine: Engine, prune_request: PruneRequest, result: PruneResult) -> None:
    """Take note of what an engine has answered, and tell the observers, if there are any."""
    exchange = exchange_of(request)
    exchange.answered(engine.name, prune_request, result)
    if exchange.observers:
        await off_loop(request, exchange.tell, engine.name, prune_request, result)


async def respond(request: Request, content: Callable[[], str], *, large: bool = False) -> Response:
    """Return a JSON response; one that may be large is made in a thread.

    Args:
        request: that is answered.
        content: makes the JSON.
        large: the response may be large though the request was not.
    """
    if not (large or is_large(request)):
        return Response(content(), media_type="application/json")

    def encoded() -> bytes:
        return content().encode()

    return Response(await off_loop(request, encoded), media_type="application/json")
