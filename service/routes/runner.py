"""Running a request on an engine: its limits, its deadline, a client that disconnects, and the response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import Request, Response

from secateur.models.errors import InputError, shown
from secateur.models.types import PruneRequest, PruneResult
from secateur.service.batching.engine import Engine
from secateur.service.engines import Engines
from secateur.service.errors import ClientGoneError
from secateur.service.exchange import exchange_of
from secateur.service.json_body import check_limit, off_loop
from secateur.service.settings import Settings

TIMEOUT_HEADER = "X-Request-Timeout-Ms"


def engines(request: Request) -> Engines:
    """Return the engines of the app."""
    found: Engines = request.app.state.engines
    return found


def check_limits(settings: Settings, request: PruneRequest) -> None:
    """Refuse a request with too many passages or characters, whatever API it used."""
    check_limit("query", len(request.query), "characters", settings.max_query_characters, "shorten the query")
    check_limit("passages", len(request.passages), "items", settings.max_passages)
    characters = sum(len(passage.text) + len(passage.title or "") for passage in request.passages)
    check_limit("passages", characters, "characters", settings.max_characters)


def timeout_s(request: Request) -> float:
    """Return the time limit of a request, from its header, which must be valid, or the settings."""
    settings: Settings = request.app.state.settings
    given = request.headers.get(TIMEOUT_HEADER)
    if given is None:
        return settings.timeout_ms / 1e3
    valid = given.isascii() and given.isdigit() and len(given) <= 10 and 1 <= int(given) <= settings.max_timeout_ms
    if not valid:
        hint = f"give 1 to {settings.max_timeout_ms}"
        raise InputError(TIMEOUT_HEADER, f"{shown(given)} is not a valid number of milliseconds", hint)
    return int(given) / 1e3


async def _disconnected(request: Request) -> None:
    """Wait until the client closes the connection. The body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def run(request: Request, engine: Engine, prune_request: PruneRequest) -> PruneResult:
    """Run a request within its limits. If the client disconnects, the remaining work is dropped."""
    check_limits(request.app.state.settings, prune_request)
    work = asyncio.ensure_future(engine.prune(prune_request, timeout_s(request)))
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientGoneError
        result = work.result()
        await record(request, engine, prune_request, result)
        return result
    finally:
        work.cancel()
        gone.cancel()


async def record(request: Request, engine: Engine, prune_request: PruneRequest, result: PruneResult) -> None:
    """Record a result in the exchange, and call its observers."""
    exchange = exchange_of(request.scope)
    exchange.record(engine.name, prune_request, result)
    if exchange.observers:
        await off_loop(request, lambda: exchange.notify(engine.name, prune_request, result))


async def respond(request: Request, content: Callable[[], str], *, large: bool) -> Response:
    """Return a JSON response. It is encoded in a thread if the body was large, or if it may be large itself."""
    if large or getattr(request.state, "large", False):
        return Response(await off_loop(request, lambda: content().encode()), media_type="application/json")
    return Response(content(), media_type="application/json")
