"""The API reference: `/openapi.json`, and Swagger UI at `/docs` with its own files."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from secateur.service.middleware.paths import prefix_of
from secateur.service.routes.pages import Pages

router = APIRouter(include_in_schema=False)

_PAGES = Pages(
    "docs",
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)


@router.get("/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    """Return the schema, with the path under which the client sees the service."""
    content = request.app.openapi()
    if prefix := prefix_of(request.scope):
        content = {**content, "servers": [{"url": prefix}]}
    return JSONResponse(content)


@router.get("/docs")
async def page(request: Request) -> Response:
    """Return the page."""
    return _PAGES.page(request)


@router.get("/docs/{name}")
async def file(request: Request, name: str) -> Response:
    """Return one of the page's files."""
    return _PAGES.file(request, name)
