"""`POST /v1/prune/batch`: many requests in one body, one a line."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from secateur.models.errors import InputError
from secateur.service.batching.errors import EngineError, OverloadedError
from secateur.service.exchange import exchange_of
from secateur.service.limits import check_limits
from secateur.service.problems import PROBLEMS, UnknownModelError, problem_of
from secateur.service.reading import UnreadableError, read_body
from secateur.service.routes.prune import as_json
from secateur.service.routes.running import engines, timeout_s
from secateur.service.schemas import PruneBody, response_content

router = APIRouter(tags=["prune"])

_IN_MEMORY = 1 << 20  # bytes of a body that are kept in memory, the rest in a temporary file
_IN_FLIGHT = 8  # lines worked on at once: enough to fill batches, few enough to leave room for others
_PATIENCE_S = 1.0  # a line waits at most so long before it asks an engine with a full queue again


async def _spooled(request: Request) -> IO[bytes]:
    """Store the whole body: many clients read nothing of the answer before they have sent everything."""
    file: Any = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (closed by the stream that reads it)
    async for chunk in request.stream():
        file.write(chunk)
    file.seek(0)
    return file  # type: ignore[no-any-return]


async def _run(request: Request, line: bytes) -> dict[str, Any]:
    body = PruneBody.model_validate(await read_body(line.rstrip(b"\r\n"), request.app.state.settings))
    engine = engines(request).named(body.model)
    prune_request = body.request()
    check_limits(request.app.state.settings, prune_request)
    while True:
        try:
            result = await engine.prune(prune_request, timeout_s(request))
        except OverloadedError as error:
            await asyncio.sleep(min(error.retry_after_s, _PATIENCE_S))
        else:
            exchange_of(request).answered(engine.name, prune_request, result)
            return response_content(engine.name, body, result)


async def _answer(request: Request, number: int, line: bytes) -> str:
    try:
        content = await _run(request, line)
    except (InputError, UnreadableError, UnknownModelError, EngineError, ValidationError) as error:
        return as_json({"line": number, "error": problem_of(request, error)}) + "\n"
    return as_json({"line": number, **content}) + "\n"


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(file, 1) if line.strip())


async def _answers(request: Request, file: IO[bytes]) -> AsyncIterator[str]:
    tasks: deque[asyncio.Task[str]] = deque()
    try:
        for number, line in _lines(file):
            if len(tasks) == _IN_FLIGHT:
                yield await tasks.popleft()
            tasks.append(asyncio.create_task(_answer(request, number, line)))
        while tasks:
            yield await tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        file.close()


@router.post(
    "/v1/prune/batch",
    summary="Prune for many queries",
    response_class=StreamingResponse,
    responses=PROBLEMS,
    openapi_extra={
        "requestBody": {"required": False, "content": {"application/x-ndjson": {"schema": {"type": "string"}}}}
    },
)
async def batch(request: Request) -> StreamingResponse:
    """Answer each line, a body of `/v1/prune`, by a line, in order: its response, or its error, and its number from 1.

    Lines wait for room in the queue, however long that takes; each has the request's time once it has begun.
    """
    timeout_s(request)
    return StreamingResponse(_answers(request, await _spooled(request)), media_type="application/x-ndjson")
