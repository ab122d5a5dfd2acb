"""The playground: one page at `/` with its own files."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from secateur.service.routes.pages import Pages

router = APIRouter(include_in_schema=False)

_PAGES = Pages(
    "playground",
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)


@router.get("/")
async def page(request: Request) -> Response:
    """Return the page."""
    return _PAGES.page(request)


@router.get("/playground/{name}")
async def file(request: Request, name: str) -> Response:
    """Return one of the page's files."""
    return _PAGES.file(request, name)
