"""Errors as problem details (RFC 9457), made in one place."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from secateur.models.errors import InputError, shown

log = logging.getLogger(__name__)

_UNION_TAGS = {"string", "object", "str", "int"}


class FieldError(BaseModel):
    """One field that was wrong."""

    field: str = Field(examples=["passages[3].text"])
    problem: str = Field(examples=["42 is not a string"])
    mend: str = Field(examples=["give the passage's text"])


class Problem(BaseModel):
    """Problem details, RFC 9457."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["passages[3].text: 42 is not a string; give the passage's text"])
    instance: str = Field(examples=["/v1/prune"])
    errors: list[FieldError] | None = None


class UnknownModelError(Exception):
    """The request names a model that is not served.

    Args:
        model: the name asked for.
        served: the names there are.
    """

    def __init__(self, model: str, served: Sequence[str]) -> None:
        super().__init__(f"model: {shown(model)} is not served; use one of {', '.join(served)}")


def problem(request: Request, status: int, detail: str, errors: list[FieldError] | None = None) -> JSONResponse:
    """Return a problem-details response."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
    }
    if errors:
        content["errors"] = [error.model_dump() for error in errors]
    return JSONResponse(content, status, media_type="application/problem+json")


def _field(location: Sequence[str | int]) -> str:
    """Write a validation error's location as it stands in JSON: ``passages[3].text``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _UNION_TAGS and part != "body":
            path += f".{part}" if path else part
    return path or "body"


def _field_error(error: dict[str, Any]) -> FieldError:
    value = error.get("input")
    given = "" if error["type"] in ("missing", "json_invalid") else f"{_ascii(shown(value))} is wrong: "
    return FieldError(
        field=_field([part for part in error["loc"] if error["type"] != "json_invalid" or part == "body"]),
        problem=_ascii(f"{given}{error['msg']}"),
        mend="see /docs for what each field takes",
    )


def _ascii(text: str) -> str:
    """Keep a message that quotes the caller's text encodable, whatever that holds."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def install_problem_handlers(app: FastAPI) -> None:
    """Turn every error of the app into problem details."""

    @app.exception_handler(InputError)
    async def input_error(request: Request, error: InputError) -> JSONResponse:
        field_error = FieldError(field=_ascii(error.field), problem=_ascii(error.problem), mend=error.mend)
        return problem(request, 422, _ascii(str(error)), [field_error])

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        if any(isinstance(item.get("input"), bytes) for item in error.errors()):
            given = request.headers.get("content-type")
            return problem(request, 415, f"content-type: {given!r} is not JSON; send Content-Type: application/json")
        errors = [_field_error(dict(item)) for item in error.errors()]
        return problem(request, 422, "; ".join(f"{e.field}: {e.problem}" for e in errors[:3]), errors)

    @app.exception_handler(UnknownModelError)
    async def unknown_model(request: Request, error: UnknownModelError) -> JSONResponse:
        return problem(request, 404, _ascii(str(error)))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        response = problem(request, error.status_code, str(error.detail))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.exception("unexpected error", exc_info=error)
        return problem(request, 500, "an unexpected error; the server's log has the details")
