"""The native API: `POST /v1/prune`, and `POST /v1/prune/batch` with one request per line."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from secateur.models.errors import shown
from secateur.service.batching.admission import estimated_load
from secateur.service.errors import BodyTooLargeError, BodyTypeError, DiskFullError, OverloadedError
from secateur.service.json_body import LARGE, StrictRoute, off_loop, read_body
from secateur.service.middleware.bodies import BATCH_BYTES, BATCH_PATH
from secateur.service.problems import PROBLEMS, problem_of
from secateur.service.routes.runner import check_limits, engines, record, respond, run, timeout_s
from secateur.service.schemas import PruneBody, PruneResponse, as_json, prune_json

log = logging.getLogger(__name__)

router = APIRouter(tags=["prune"])
_strict = APIRouter(route_class=StrictRoute)

_IN_FLIGHT = 32  # lines in progress: enough to fill steps with short ones
_IN_FLIGHT_BYTES = 1 << 20  # of these lines together, or one larger line
_MAX_WAIT_S = 1.0  # before a line asks an engine with a full queue again
_READ_BYTES = 1 << 20
_LINE = re.compile(rb"[^\s][^\n]*")  # without the white space before it
_NDJSON = "application/x-ndjson"
_TYPES = (_NDJSON, "application/ndjson", "application/jsonl", "application/json-lines", "application/json")


@_strict.post("/v1/prune", summary="Prune and rerank passages", response_model=PruneResponse, responses=PROBLEMS)
async def prune(request: Request, body: PruneBody) -> Response:
    """Score every sentence and every passage for the query, and return only what helps to answer it."""
    engine = engines(request).named(body.model)
    prune_request = body.prune_request()
    result = await run(request, engine, prune_request)
    # The result is valid by construction; validating it again would cost more than making it.
    content = partial(prune_json, engine.name, body, result)
    return await respond(request, content, large=prune_request.options.return_units)


router.include_router(_strict)


class Line(NamedTuple):
    """A line that is not blank: its number, from 1, and its content, None if it is too long."""

    number: int
    content: bytes | None


def read_lines(file: IO[bytes], max_bytes: int) -> Iterator[Line]:
    """Yield the lines of a file. Blank lines are counted but not yielded, millions of them in a moment."""
    number = 1
    while block := file.read(_READ_BYTES):
        too_long = False
        if not block.endswith(b"\n"):
            rest = file.readline(max_bytes + 1)
            block += rest
            too_long = len(rest) > max_bytes and not rest.endswith(b"\n")
            while too_long and rest and not rest.endswith(b"\n"):
                rest = file.readline(_READ_BYTES)  # skipped
        start = 0
        for found in _LINE.finditer(block):
            number += block.count(b"\n", start, found.start())
            start = found.start()
            size = found.end() - start
            cut = too_long and found.end() == len(block)
            yield Line(number, found[0] if size <= max_bytes and not cut else None)
        number += block.count(b"\n", start) + too_long


async def _store_body(request: Request) -> IO[bytes]:
    """Store the whole body: many clients read nothing of the answer before they have sent everything."""
    file = SpooledTemporaryFile(BATCH_BYTES)  # noqa: SIM115 (closed by the response)
    try:
        async for chunk in request.stream():
            await anyio.to_thread.run_sync(file.write, chunk)
        file.seek(0)
    except BaseException as error:
        with suppress(OSError):  # the same error once more
            file.close()
        if isinstance(error, OSError):
            log.error("cannot store a batch in the temporary directory: %s", error)
            raise DiskFullError from error
        raise
    return file


def _check_type(request: Request) -> None:
    """Refuse types that a web page of another origin may send without permission: forms, plain text, or no type."""
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() not in _TYPES:
        problem = f"{shown(given)} is not lines of JSON" if given else "is missing"
        raise BodyTypeError("content-type", problem, f"send Content-Type: {_NDJSON}")


async def _run_line(request: Request, line: Line) -> str:
    settings = request.app.state.settings
    if line.content is None:
        raise BodyTooLargeError(settings.max_body_bytes)
    body = await read_body(request, line.content.rstrip(b"\r"), PruneBody.model_validate)
    engine = engines(request).named(body.model)
    prune_request = body.prune_request()
    check_limits(settings, prune_request)
    load = estimated_load(prune_request, engine.pruner.encoder.window)
    while True:
        try:
            async with engine.background.turn(load.tokens):
                result = await engine.prune(prune_request, timeout_s(request))
                break
        except OverloadedError as error:
            await asyncio.sleep(min(error.retry_after_s, _MAX_WAIT_S))
    await record(request, engine, prune_request, result)
    content = partial(prune_json, engine.name, body, result, line=line.number)
    large = prune_request.options.return_units or len(line.content) >= LARGE
    return await off_loop(request, content) if large else content()


async def _answer_line(request: Request, line: Line) -> str:
    try:
        return await _run_line(request, line) + "\n"
    except Exception as error:
        return as_json({"line": line.number, "error": problem_of(request, error)}) + "\n"


async def _answer_lines(request: Request, file: IO[bytes]) -> AsyncGenerator[str]:
    lines = read_lines(file, request.app.state.settings.max_body_bytes)
    tasks: deque[tuple[asyncio.Task[str], int]] = deque()
    try:
        while line := await anyio.to_thread.run_sync(next, lines, None):
            size = len(line.content or b"")
            while tasks and (len(tasks) == _IN_FLIGHT or sum(its for _, its in tasks) + size > _IN_FLIGHT_BYTES):
                yield await tasks[0][0]
                tasks.popleft()
            tasks.append((asyncio.create_task(_answer_line(request, line)), size))
        while tasks:
            yield await tasks[0][0]
            tasks.popleft()
    finally:
        for task, _ in tasks:
            task.cancel()


class _BatchResponse(StreamingResponse):
    """The answers to a batch. However the response ends, its lines are cancelled and its file is closed."""

    def __init__(self, request: Request, file: IO[bytes]) -> None:
        self._answers = _answer_lines(request, file)
        self._file = file
        super().__init__(self._answers, media_type=_NDJSON)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answers."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answers.aclose()
            self._file.close()


@router.post(
    BATCH_PATH,
    summary="Prune for many queries",
    response_class=StreamingResponse,
    responses=PROBLEMS | {507: {**PROBLEMS[500], "description": "No disk space on the server for the batch"}},
    openapi_extra={"requestBody": {"required": True, "content": {_NDJSON: {"schema": {"type": "string"}}}}},
)
async def batch(request: Request) -> StreamingResponse:
    """Answer each line, a body of `/v1/prune`, with one line, in order: its response or its error, and its number.

    Lines yield to other requests, however long that takes. Each has the time limit of a request once it has started.
    """
    _check_type(request)
    timeout_s(request)
    return _BatchResponse(request, await _store_body(request))
