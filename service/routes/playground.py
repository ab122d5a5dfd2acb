"""The playground: one page at `/` with its own files, nothing from elsewhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

_PAGE = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the page, as it is sent."""

    content: bytes
    headers: dict[str, str]


def _read(name: str, content: bytes) -> _File:
    headers = {
        "Content-Type": _TYPES[name[name.rindex(".") :]],
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-cache",  # ask each time; the tag makes that cheap
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    }
    return _File(content, headers)


_FILES = {
    file.name: _read(file.name, file.read_bytes())
    for file in files("secateur.service").joinpath("playground").iterdir()
    if file.name.endswith(tuple(_TYPES))
}


def _answer(request: Request, name: str) -> Response:
    file = _FILES.get(name)
    if file is None:
        raise HTTPException(404, f"the playground has no {name!r}")
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.headers["ETag"] in known or "*" in known:
        return Response(status_code=304, headers=file.headers)
    return Response(file.content, headers=file.headers)


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """Return the page."""
    return _answer(request, _PAGE)


@router.api_route("/playground/{name}", methods=["GET", "HEAD"])
async def file(request: Request, name: str) -> Response:
    """Return one of the page's files."""
    return _answer(request, name)
