"""Errors as problem details (RFC 9457). Every error response of the service is built here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from secateur.models.errors import InputError, SecateurError, shown
from secateur.service.errors import BodyTypeError, ClientGoneError, OverloadedError
from secateur.service.exchange import exchange_of
from secateur.service.json_body import MAX_ERRORS, InvalidBodyError

log = logging.getLogger(__name__)

_UNION_TAGS = {"string", "object", "str", "int", "tei", "jina"}


def _at_most(limit: int) -> BeforeValidator:
    """Shorten a message to a number of characters, since it may quote the caller's text, and make it encodable."""

    def quotable(text: str) -> str:
        short = text if len(text) <= limit else text[: limit - 3] + "..."
        return short.encode("utf-8", "backslashreplace").decode("utf-8")

    return BeforeValidator(quotable)


class FieldError(BaseModel):
    """An invalid field."""

    field: Annotated[str, _at_most(200)] = Field(
        description="Path of the invalid field.", examples=["passages[3].text"]
    )
    problem: Annotated[str, _at_most(500)] = Field(
        description="Reason why the value is invalid.", examples=["42 is not a string"]
    )
    hint: Annotated[str, _at_most(500)] = Field(
        description="Way to correct the value.", examples=["give the passage's text"]
    )


class Problem(BaseModel):
    """Problem details, RFC 9457."""

    type: str = Field(description="Problem type, always `about:blank`.", examples=["about:blank"])
    title: str = Field(description="Standard phrase of the HTTP status.", examples=["Unprocessable Entity"])
    status: int = Field(description="HTTP status code.", examples=[422])
    detail: Annotated[str, _at_most(1000)] = Field(
        description="Explanation of the problem, with a hint.",
        examples=["passages[3].text: 42 is not a string; give the passage's text"],
    )
    instance: str = Field(description="Path of the request.", examples=["/v1/prune"])
    request_id: str = Field(
        description="Request id, also in the server log.", examples=["9b2f6a0c1d5e4f7f8a3b6c9d0e1f2a3b"]
    )
    errors: list[FieldError] | None = Field(None, description=f"Invalid fields, at most {MAX_ERRORS}.")
    other_errors: int | None = Field(None, description="Number of invalid fields not listed in `errors`.")


# By status: the kind of failure in logs and metrics, and the description in the API reference.
_STATUSES = {
    400: ("unreadable", "Body that cannot be read"),
    401: ("unauthorized", "Missing or invalid API key"),
    404: ("not_found", "Unknown model"),
    405: ("wrong_method", ""),
    408: ("slow_client", "Body that did not arrive in time"),
    413: ("too_large", "Body that is too large"),
    415: ("wrong_type", "Body that is not JSON, or is compressed"),
    422: ("invalid", "Invalid body"),
    429: ("overloaded", "Full queue or exceeded rate limit; `Retry-After` gives the time to wait"),
    499: ("client_gone", ""),
    500: ("error", "Failure of the model on this request"),
    503: ("engine_dead", "Stopped engine"),
    504: ("late", "Missed deadline"),
    507: ("no_room", ""),
}
KINDS = {status: kind for status, (kind, _) in _STATUSES.items()}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, (_, description) in _STATUSES.items()
    if description
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
    """Return problem details with the fields of `Problem`, and for a dialect those that its clients read."""
    content = Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=instance,
        request_id=request_id,
        errors=list(fields) or None,
        other_errors=other_errors or None,
    ).model_dump(exclude_none=True)
    if instance in _DIALECT_PATHS:
        message = content["detail"]
        content |= {"message": message, "error": message, "error_type": _ERROR_TYPES.get(status, "Validation")}
    return content


def problem_of(request: Request, error: Exception) -> dict[str, Any]:
    """Return the problem details of any error. An unexpected one is logged instead of described."""
    fields: list[FieldError] = []
    others = 0
    status: Any = getattr(error, "status", 422 if isinstance(error, InputError) else None)
    if isinstance(error, InvalidBodyError):
        fields, others = [_field_error(found) for found in error.errors], error.others
        parts = [f"{field.field}: {field.problem}" for field in fields[:3]]
        if more := len(fields) + others - len(parts):
            parts.append(f"and {more} more")
        detail = "; ".join(parts)
    elif isinstance(error, InputError):
        field = FieldError(field=error.field, problem=error.problem, hint=error.hint)
        fields, detail = [field], f"{field.field}: {field.problem}; {field.hint}"
    elif isinstance(error, HTTPException):
        status, detail = error.status_code, str(error.detail)
    elif isinstance(error, SecateurError) and status is not None:
        detail = str(error)
    else:
        log.error("unexpected error", exc_info=error)
        status, detail = 500, "unexpected error; see the server log for details"
    return problem_content(status, detail, request.url.path, exchange_of(request.scope).id, fields, others)


def _field_error(error: Mapping[str, Any]) -> FieldError:
    """Return an error of pydantic."""
    value = "" if error["type"] == "missing" else f"{shown(error.get('input'))} is invalid: "
    hint = "see /docs for the values of each field"
    return FieldError(field=_path(error["loc"]), problem=f"{value}{error['msg']}", hint=hint)


def _path(location: Sequence[str | int]) -> str:
    """Return the location of a validation error in JSON notation: ``passages[3].text``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _UNION_TAGS and part != "body":
            path += f".{part}" if path else part
    return path or "body"


def error_response(request: Request, error: Exception) -> Response:
    """Return the response for any error."""
    if isinstance(error, HTTPException) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # FastAPI replaces any error while it reads a body
    if isinstance(error, RequestValidationError):
        error = _invalid_body(request, error)
    if isinstance(error, ClientDisconnect | ClientGoneError):
        return Response(status_code=499)  # nobody reads it, but the log shows it
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"  # see ProxyMiddleware
    if isinstance(error, OverloadedError):
        headers["Retry-After"] = str(error.retry_after_s)
    content = problem_of(request, error)
    return JSONResponse(content, content["status"], headers, media_type="application/problem+json")


def _invalid_body(request: Request, error: RequestValidationError) -> InputError:
    found = error.errors()
    if not any(isinstance(item.get("input"), bytes) for item in found):
        return InvalidBodyError(found, len(found))
    given = shown(request.headers.get("content-type"))
    return BodyTypeError("content-type", f"{given} is not JSON", "send Content-Type: application/json")


def install_problem_handlers(app: FastAPI) -> None:
    """Make an app answer every error with problem details."""

    async def answer(request: Request, error: Exception) -> Response:
        return error_response(request, error)

    for kind in (SecateurError, RequestValidationError, ClientDisconnect, HTTPException):
        app.add_exception_handler(kind, answer)
