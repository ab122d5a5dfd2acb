"""Health, metrics, the playground at `/`, and the API reference at `/docs` and `/openapi.json`.

Pages use only the service's own files, and their links also work behind a proxy with a path prefix.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from secateur.service.routes.runner import engines

router = APIRouter()

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_RELATIVE = re.compile(rb'\b(href|src)="(?![#/]|data:)')
_PAGE = "index.html"
_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def _read(folder: str) -> dict[str, bytes]:
    found = files("secateur.service").joinpath(folder).iterdir()
    return {file.name: file.read_bytes() for file in found if file.name.endswith(tuple(_TYPES))}


_FOLDERS = {folder: _read(folder) for folder in ("docs", "playground")}


def _answer(request: Request, name: str, content: bytes) -> Response:
    """Return a file. Own code instead of `StaticFiles`, which cannot change links or headers."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {
        "Content-Type": _TYPES[name[name.rindex(".") :]],
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-cache",  # clients ask each time, which the tag makes cheap
        "ETag": tag,
    }
    known = {given.strip().removeprefix("W/") for given in request.headers.get("if-none-match", "").split(",")}
    if known & {tag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers)


@router.get("/", include_in_schema=False)
@router.get("/docs", include_in_schema=False)
async def page(request: Request) -> Response:
    """Return a page, with links relative to the root of the service."""
    content = _FOLDERS["docs" if request.scope["path"] == "/docs" else "playground"][_PAGE]
    if root := request.state.root:
        content = _RELATIVE.sub(rb'\1="' + root.encode(), content)
    return _answer(request, _PAGE, content)


@router.get("/docs/{name}", include_in_schema=False)
@router.get("/playground/{name}", include_in_schema=False)
async def file(request: Request, name: str) -> Response:
    """Return a file of a page, if there is such a file."""
    folder = request.scope["path"].split("/")[1]
    if name not in _FOLDERS[folder]:
        raise HTTPException(404, f"{folder} has no file {name!r}")
    return _answer(request, name, _FOLDERS[folder][name])


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """Return the OpenAPI schema, with the path prefix that the client uses."""
    content = request.app.openapi()
    if prefix := request.state.prefix:
        content = {**content, "servers": [{"url": prefix}]}
    return JSONResponse(content)


_DEAD: dict[int | str, dict[str, Any]] = {503: {"description": "Stopped engine"}}


@router.get("/health/live", tags=["health"], summary="Liveness of the process")
async def live() -> dict[str, str]:
    """Return 200 while the event loop runs."""
    return {"status": "live"}


@router.get("/health", tags=["health"], summary="Readiness, same as /health/ready", responses=_DEAD)
@router.get("/health/ready", tags=["health"], summary="Readiness of the models", responses=_DEAD)
async def ready(request: Request) -> JSONResponse:
    """Return 200 while requests can be served, else 503. The port is open only after all models are loaded."""
    served = engines(request)
    if not served.alive:
        return JSONResponse({"status": "failed", "models": served.names}, status_code=503)
    return JSONResponse({"status": "ready", "model": served.default.name, "models": served.names})


@router.get("/metrics", tags=["operations"], summary="Metrics in Prometheus' text format", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return counters, histograms and gauges, all named ``secateur_...``."""
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def complete_openapi(app: FastAPI, needs_key: Callable[[str], bool]) -> None:
    """Add to the OpenAPI schema what FastAPI does not: the media type of errors, and the paths that need a key."""
    original = app.openapi

    def completed() -> dict[str, Any]:
        content = original()  # cached by FastAPI, so the second time nothing changes
        for path, operations in content["paths"].items():
            for operation in operations.values():
                for response in operation["responses"].values():
                    bodies = response.get("content", {})
                    # FastAPI gives them the media type of the route's response.
                    for media_type in [name for name, body in bodies.items() if body.get("schema") == _PROBLEM]:
                        bodies["application/problem+json"] = bodies.pop(media_type)
                if needs_key(path):
                    operation["security"] = [{"APIKey": []}]
                    schemes = content["components"].setdefault("securitySchemes", {})
                    schemes["APIKey"] = {"type": "http", "scheme": "bearer"}
        return content

    app.openapi = completed  # type: ignore[method-assign]
