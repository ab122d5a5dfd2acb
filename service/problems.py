"""Errors as problem details (RFC 9457). Every error response of the service is built here."""

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

from secateur.models.errors import InputError, SecateurError, shown
from secateur.service import errors
from secateur.service.exchange import exchange_of
from secateur.service.json_body import MAX_ERRORS, InvalidBodyError

log = logging.getLogger(__name__)

# The status of each error. A subclass without an entry has the status of its base class.
STATUS: dict[type[SecateurError], int] = {
    errors.UnreadableBodyError: 400,
    errors.UnknownModelError: 404,
    errors.SlowBodyError: 408,
    errors.BodyTooLargeError: 413,
    errors.BodyTypeError: 415,
    InputError: 422,
    errors.OverloadedError: 429,
    errors.ClientGoneError: 499,
    errors.BackendError: 500,
    errors.EngineDeadError: 503,
    errors.DeadlineError: 504,
    errors.DiskFullError: 507,
}

_UNION_TAGS = {"string", "object", "str", "int", "tei", "jina"}
# Maximum lengths in characters. A message may quote the caller's text, so it is shortened here.
_MAX_FIELD = 200
_MAX_PROBLEM = 500
_MAX_DETAIL = 1000


class FieldError(BaseModel):
    """An invalid field."""

    field: str = Field(description="Path of the invalid field.", examples=["passages[3].text"])
    problem: str = Field(description="Reason why the value is invalid.", examples=["42 is not a string"])
    hint: str = Field(description="Way to correct the value.", examples=["give the passage's text"])


class Problem(BaseModel):
    """Problem details, RFC 9457."""

    type: str = Field(description="Problem type, always `about:blank`.", examples=["about:blank"])
    title: str = Field(description="Standard phrase of the HTTP status.", examples=["Unprocessable Content"])
    status: int = Field(description="HTTP status code.", examples=[422])
    detail: str = Field(
        description="Explanation of the problem, with a hint.",
        examples=["passages[3].text: 42 is not a string; give the passage's text"],
    )
    instance: str = Field(description="Path of the request.", examples=["/v1/prune"])
    request_id: str = Field(
        description="Request id, also in the server log.", examples=["9b2f6a0c1d5e4f7f8a3b6c9d0e1f2a3b"]
    )
    errors: list[FieldError] | None = Field(None, description=f"Invalid fields, at most {MAX_ERRORS}.")
    other_errors: int | None = Field(None, description="Number of invalid fields not listed in `errors`.")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "Body that cannot be read",
        401: "Missing or invalid API key",
        404: "Unknown model",
        408: "Body that did not arrive in time",
        413: "Body that is too large",
        415: "Body that is not JSON, or is compressed",
        422: "Invalid body",
        429: "Full queue or exceeded rate limit; `Retry-After` gives the time to wait",
        500: "Failure of the model on this request",
        503: "Stopped engine",
        504: "Missed deadline",
    }.items()
}

_DIALECT_PATHS = {"/rerank", "/infinity/rerank", "/v1/rerank", "/v2/rerank"}
# Error types of Text Embeddings Inference.
_ERROR_TYPES = {429: "Overloaded", 500: "Backend", 503: "Unhealthy", 504: "Overloaded"}


def problem_content(
    status: int,
    detail: str,
    instance: str,
    request_id: str,
    fields: Sequence[FieldError] = (),
    other_errors: int = 0,
) -> dict[str, Any]:
    """Return problem details.

    Args:
        status: HTTP status code.
        detail: Explanation; shortened if it is too long.
        instance: Path of the request.
        request_id: Id of the request.
        fields: Invalid fields.
        other_errors: Number of further invalid fields.
    """
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _quotable(detail, _MAX_DETAIL),
        "instance": instance,
        "request_id": request_id,
    }
    if fields:
        content["errors"] = [field.model_dump() for field in fields]
    if other_errors:
        content["other_errors"] = other_errors
    if instance in _DIALECT_PATHS:  # clients of other services read these fields
        content |= {
            "message": content["detail"],
            "error": content["detail"],
            "error_type": _ERROR_TYPES.get(status, "Validation"),
        }
    return content


def problem_of(request: Request, error: Exception) -> dict[str, Any]:
    """Return the problem details of any error; an unexpected one is not described."""
    fields: Sequence[FieldError] = ()
    others = 0
    if isinstance(error, InvalidBodyError):
        status, (fields, others) = 422, _field_errors(error.errors, error.others)
        detail = _summary(fields, others)
    elif isinstance(error, RequestValidationError):
        status, (fields, others) = 422, _field_errors(error.errors(), 0)
        detail = _summary(fields, others)
    elif (found := _status(error)) is not None:
        status, detail = found, str(error)
        if isinstance(error, InputError):
            fields = [_field_error(error.field, error.problem, error.hint)]
            detail = f"{fields[0].field}: {fields[0].problem}; {fields[0].hint}"
    else:
        status, detail = 500, "unexpected error; see the server log for details"
    return problem_content(status, detail, request.url.path, exchange_of(request.scope).id, fields, others)


def _status(error: Exception) -> int | None:
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)


def error_response(request: Request, error: Exception) -> JSONResponse:
    """Return the response for any error."""
    retry = {"Retry-After": str(error.retry_after_s)} if isinstance(error, errors.OverloadedError) else None
    return _response(problem_of(request, error), retry)


def problem(request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a problem-details response for a condition that has no error class."""
    return _response(problem_content(status, detail, request.url.path, exchange_of(request.scope).id), headers)


def _response(content: dict[str, Any], headers: Mapping[str, str] | None) -> JSONResponse:
    return JSONResponse(content, content["status"], headers, media_type="application/problem+json")


def _path(location: Sequence[str | int]) -> str:
    """Return the location of a validation error in JSON notation: ``passages[3].text``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _UNION_TAGS and part != "body":
            path += f".{part}" if path else part
    return path or "body"


def _field_error(field: str, problem: str, hint: str) -> FieldError:
    return FieldError(
        field=_quotable(field, _MAX_FIELD), problem=_quotable(problem, _MAX_PROBLEM), hint=_quotable(hint, _MAX_PROBLEM)
    )


def _field_errors(found: Sequence[Mapping[str, Any]], others: int) -> tuple[list[FieldError], int]:
    """Return the first validation errors of pydantic, and the number of all others."""
    fields = []
    for error in found[:MAX_ERRORS]:
        value = "" if error["type"] == "missing" else f"{shown(error.get('input'))} is invalid: "
        fields.append(
            _field_error(_path(error["loc"]), f"{value}{error['msg']}", "see /docs for the values of each field")
        )
    return fields, others + len(found) - len(fields)


def _summary(fields: Sequence[FieldError], others: int) -> str:
    parts = [f"{field.field}: {field.problem}" for field in fields[:3]]
    if more := len(fields) + others - len(parts):
        parts.append(f"and {more} more")
    return "; ".join(parts)


def _quotable(text: str, limit: int) -> str:
    """Shorten a message that may quote the caller's text, and make it encodable."""
    short = text if len(text) <= limit else text[: limit - 3] + "..."
    return short.encode("utf-8", "backslashreplace").decode("utf-8")


def install_problem_handlers(app: FastAPI) -> None:
    """Make an app answer every error with problem details."""

    @app.exception_handler(SecateurError)
    async def known(request: Request, error: Exception) -> Response:
        if (status := _status(error)) is None:
            raise error
        if status == 499:
            return Response(status_code=499)  # nobody reads it, but the log shows it
        if isinstance(error, errors.DiskFullError):
            log.error("cannot store a batch in the temporary directory: %s", error.__cause__)
        return error_response(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        if any(isinstance(item.get("input"), bytes) for item in error.errors()):
            given = shown(request.headers.get("content-type"))
            hint = "send Content-Type: application/json"
            return error_response(request, errors.BodyTypeError("content-type", f"{given} is not JSON", hint))
        return error_response(request, error)

    @app.exception_handler(ClientDisconnect)  # while the body was received
    async def disconnected(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"  # see PathMiddleware
        return problem(request, error.status_code, str(error.detail), headers)
