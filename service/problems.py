"""Errors as problem details (RFC 9457), made in one place."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from secateur.models.errors import InputError, shown
from secateur.service.batching.errors import (
    BackendError,
    DeadlineError,
    EngineDeadError,
    EngineError,
    OverloadedError,
)
from secateur.service.exchange import exchange_of
from secateur.service.reading import UnreadableError
from secateur.service.spooling import NoRoomError
from secateur.service.validation import MAX_ERRORS, BodyError

log = logging.getLogger(__name__)

_UNION_TAGS = {"string", "object", "str", "int", "tei", "jina"}
# Characters of a message. What quotes the caller's text is bounded here too, wherever it was written.
_MAX_FIELD = 200
_MAX_PROBLEM = 500
_MAX_DETAIL = 1000


class FieldError(BaseModel):
    """One field that was wrong."""

    field: str = Field(examples=["passages[3].text"])
    problem: str = Field(examples=["42 is not a string"])
    hint: str = Field(examples=["give the passage's text"])


class Problem(BaseModel):
    """Problem details, RFC 9457."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["passages[3].text: 42 is not a string; give the passage's text"])
    instance: str = Field(examples=["/v1/prune"])
    request_id: str = Field(examples=["9b2f6a0c1d5e4f7f8a3b6c9d0e1f2a3b"])
    errors: list[FieldError] | None = Field(None, description="Which fields are wrong, the first 20 of them.")
    other_errors: int | None = Field(None, description="Number of the wrong fields that are not in `errors`.")


class UnknownModelError(Exception):
    """The request names a model that is not served.

    Args:
        model: the name asked for.
        served: the names there are.
    """

    def __init__(self, model: str, served: Sequence[str]) -> None:
        super().__init__(f"model: {shown(model)} is not served; use one of {', '.join(served)}")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "A body that cannot be read"},
    401: {"model": Problem, "description": "No valid API key, where one is needed"},
    404: {"model": Problem, "description": "Unknown model"},
    408: {"model": Problem, "description": "The body did not arrive in time"},
    413: {"model": Problem, "description": "A body that is too large"},
    415: {"model": Problem, "description": "A body of another type than JSON, or a compressed one"},
    422: {"model": Problem, "description": "A wrong body"},
    429: {
        "model": Problem,
        "description": "Too much is waiting, or too many requests were made; `Retry-After` says how long to wait",
    },
    500: {"model": Problem, "description": "The model failed on this request"},
    503: {"model": Problem, "description": "The engine has stopped"},
    504: {"model": Problem, "description": "Not answered in time"},
}

_DIALECT_PATHS = {"/rerank", "/infinity/rerank", "/v1/rerank", "/v2/rerank"}
# As Text Embeddings Inference calls them.
_ERROR_TYPES = {429: "Overloaded", 500: "Backend", 503: "Unhealthy", 504: "Overloaded"}

_ENGINE_STATUS = {OverloadedError: 429, BackendError: 500, EngineDeadError: 503, DeadlineError: 504}


def _content(
    request: Request, status: int, detail: str, errors: Sequence[FieldError] = (), other_errors: int = 0
) -> dict[str, Any]:
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _quotable(detail, _MAX_DETAIL),
        "instance": request.url.path,
        "request_id": exchange_of(request).id,
    }
    if errors:
        content["errors"] = [error.model_dump() for error in errors]
    if other_errors:
        content["other_errors"] = other_errors
    if request.url.path in _DIALECT_PATHS:  # where clients of other services look
        content |= {
            "message": content["detail"],
            "error": content["detail"],
            "error_type": _ERROR_TYPES.get(status, "Validation"),
        }
    return content


class ClientGoneError(Exception):
    """The client closed the connection before it was answered."""


def problem_of(request: Request, error: Exception) -> dict[str, Any]:
    """Return the problem details of an error that a request may meet.

    Raises:
        TypeError: the error is none of those.
    """
    if isinstance(error, UnreadableError):
        status = error.status_code
        return {**problem_of(request, error.error), "title": HTTPStatus(status).phrase, "status": status}
    if isinstance(error, BodyError):
        return _validation_content(request, error.errors, error.others)
    if isinstance(error, InputError):
        found = _told(error.field, error.problem, error.hint)
        return _content(request, 422, f"{found.field}: {found.problem}; {found.hint}", [found])
    if isinstance(error, RequestValidationError):
        return _validation_content(request, error.errors())
    if isinstance(error, UnknownModelError):
        return _content(request, 404, str(error))
    if isinstance(error, EngineError):
        return _content(request, _ENGINE_STATUS[type(error)], str(error))
    raise TypeError(f"{type(error).__name__} has no problem details")


def unexpected_problem(request: Request) -> dict[str, Any]:
    """Return the problem details of an error that nobody foresaw."""
    return _content(request, 500, "an unexpected error; the server's log has the details")


def problem(request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a problem-details response."""
    return _response(_content(request, status, detail), headers)


def _response(content: dict[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(content, content["status"], headers, media_type="application/problem+json")


def _field(location: Sequence[str | int]) -> str:
    """Write a validation error's location as it stands in JSON: ``passages[3].text``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _UNION_TAGS and part != "body":
            path += f".{part}" if path else part
    return path or "body"


def _told(field: str, problem: str, hint: str) -> FieldError:
    """Return a wrong field with what may be told of it."""
    return FieldError(
        field=_quotable(field, _MAX_FIELD), problem=_quotable(problem, _MAX_PROBLEM), hint=_quotable(hint, _MAX_PROBLEM)
    )


def _field_error(error: Mapping[str, Any]) -> FieldError:
    value = error.get("input")
    given = "" if error["type"] == "missing" else f"{shown(value)} is wrong: "
    return _told(_field(error["loc"]), f"{given}{error['msg']}", "see /docs for what each field takes")


def _validation_content(request: Request, found: Sequence[Mapping[str, Any]], others: int = 0) -> dict[str, Any]:
    errors = [_field_error(error) for error in found[:MAX_ERRORS]]
    others += len(found) - len(errors)
    told = [f"{error.field}: {error.problem}" for error in errors[:3]]
    if more := len(errors) + others - len(told):
        told.append(f"and {more} more")
    return _content(request, 422, "; ".join(told), errors, others)


def _quotable(text: str, limit: int) -> str:
    """Keep a message that quotes the caller's text short, and encodable whatever that holds."""
    short = text if len(text) <= limit else text[: limit - 3] + "..."
    return short.encode("utf-8", "backslashreplace").decode("utf-8")


def install_problem_handlers(app: FastAPI) -> None:
    """Turn every error of the app into problem details."""

    @app.exception_handler(InputError)
    @app.exception_handler(UnreadableError)
    @app.exception_handler(UnknownModelError)
    @app.exception_handler(EngineError)
    async def known(request: Request, error: Exception) -> JSONResponse:
        retry = {"Retry-After": str(error.retry_after_s)} if isinstance(error, OverloadedError) else None
        return _response(problem_of(request, error), retry)

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        if any(isinstance(item.get("input"), bytes) for item in error.errors()):
            given = request.headers.get("content-type")
            return problem(
                request, 415, f"content-type: {shown(given)} is not JSON; send Content-Type: application/json"
            )
        return _response(problem_of(request, error))

    @app.exception_handler(NoRoomError)
    async def no_room(request: Request, error: NoRoomError) -> JSONResponse:
        log.error("a batch cannot be kept in the directory for temporary files: %s", error.__cause__)
        return problem(request, 507, str(error))

    @app.exception_handler(ClientGoneError)
    @app.exception_handler(ClientDisconnect)  # while it sent its body
    async def client_gone(request: Request, error: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it; the log has it

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"  # see Paths
        return problem(request, error.status_code, str(error.detail), headers)
