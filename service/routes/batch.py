"""`POST /v1/prune/batch`: many requests in one body, one a line."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator
from typing import IO

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from secateur.models.errors import InputError, shown
from secateur.models.types import PruneRequest
from secateur.service.answers import as_json, prune_json
from secateur.service.batching.errors import EngineError, OverloadedError
from secateur.service.limits import check_limits
from secateur.service.problems import PROBLEMS, UnknownModelError, problem_of, unexpected_problem
from secateur.service.reading import UnreadableError, read_body
from secateur.service.routes.running import answered, engines, timeout_s
from secateur.service.schemas import PruneBody
from secateur.service.spooling import Line, Lines, spooled
from secateur.service.threads import LARGE, off_loop

log = logging.getLogger(__name__)

router = APIRouter(tags=["prune"])

_IN_FLIGHT = 32  # lines worked on at once: enough to fill steps with short ones
_IN_FLIGHT_BYTES = 1 << 20  # of these lines together, or one larger line
_PATIENCE_S = 1.0  # a line waits at most so long before it asks an engine with a full queue again
_CHARACTERS_A_TOKEN = 4
_TYPES = (
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/json-lines",
    "application/json",
)


def _check_type(request: Request) -> None:
    """Refuse what a page of another origin could send without being asked: forms, plain text, a body without a type.

    Raises:
        UnreadableError: the body is not said to be lines of JSON.
    """
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() not in _TYPES:
        problem = f"{shown(given)} is not lines of JSON" if given else "is missing"
        raise UnreadableError(problem, f"send Content-Type: {_TYPES[0]}", "content-type", 415)


def _tokens(request: PruneRequest) -> int:
    texts = sum(len(passage.text) for passage in request.passages)
    return (texts + len(request.query) * len(request.passages)) // _CHARACTERS_A_TOKEN + 1


async def _run(request: Request, line: Line) -> str:
    if line.content is None:
        most = request.app.state.settings.max_body_bytes
        raise UnreadableError(f"has more than {most} bytes", "send fewer passages", status=413)
    body = await read_body(request, line.content.rstrip(b"\r"), PruneBody.model_validate)
    engine = engines(request).named(body.model)
    prune_request = body.request()
    check_limits(request.app.state.settings, prune_request)
    while True:
        try:
            async with engines(request).background(engine).turn(_tokens(prune_request)):
                result = await engine.prune(prune_request, timeout_s(request))
        except OverloadedError as error:
            await asyncio.sleep(min(error.retry_after_s, _PATIENCE_S))
        else:
            break
    await answered(request, engine, prune_request, result)

    def content() -> str:
        return prune_json(engine.name, body, result, line=line.number)

    large = prune_request.options.return_units or len(line.content) >= LARGE
    return await off_loop(request, content) if large else content()


async def _answer(request: Request, line: Line) -> str:
    try:
        return await _run(request, line) + "\n"
    except (InputError, UnreadableError, UnknownModelError, EngineError) as error:
        problem = problem_of(request, error)
    except Exception:
        log.exception("unexpected error on line %d of a batch", line.number)
        problem = unexpected_problem(request)
    return as_json({"line": line.number, "error": problem}) + "\n"


async def _answers(request: Request, file: IO[bytes]) -> AsyncGenerator[str]:
    lines = Lines(file, request.app.state.settings.max_body_bytes)
    tasks: deque[tuple[asyncio.Task[str], int]] = deque()
    try:
        while some := await anyio.to_thread.run_sync(lines.some):
            for line in some:
                size = len(line.content or b"")
                while tasks and (len(tasks) == _IN_FLIGHT or sum(its for _, its in tasks) + size > _IN_FLIGHT_BYTES):
                    yield await tasks[0][0]
                    tasks.popleft()
                tasks.append((asyncio.create_task(_answer(request, line)), size))
        while tasks:
            yield await tasks[0][0]
            tasks.popleft()
    finally:
        for task, _ in tasks:
            task.cancel()


class _Answers(StreamingResponse):
    """The answers to a batch; however the response ends, its lines end too, and its file is closed.

    Args:
        request: whose lines are answered.
        file: of the lines.
    """

    def __init__(self, request: Request, file: IO[bytes]) -> None:
        self._answers = _answers(request, file)
        self._file = file
        super().__init__(self._answers, media_type="application/x-ndjson")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answers."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answers.aclose()
            self._file.close()


@router.post(
    "/v1/prune/batch",
    summary="Prune for many queries",
    response_class=StreamingResponse,
    responses=PROBLEMS | {507: {**PROBLEMS[500], "description": "The server's disk has no room for the batch"}},
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/x-ndjson": {"schema": {"type": "string"}}}}
    },
)
async def batch(request: Request) -> StreamingResponse:
    """Answer each line, a body of `/v1/prune`, by a line, in order: its response, or its error, and its number from 1.

    Lines give way to other requests, however long that takes; each has the request's time once it has begun.
    """
    _check_type(request)
    timeout_s(request)
    return _Answers(request, await spooled(request))
