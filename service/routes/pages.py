"""Pages of the service's own files: nothing from elsewhere, and links that also hold behind a proxy's prefix."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from secateur.service.middleware.paths import root_of

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_RELATIVE = re.compile(rb'\b(href|src)="(?![#/]|data:)')


@dataclass(frozen=True, slots=True)
class _File:
    """A file, as it is sent."""

    content: bytes
    headers: dict[str, str]


class Pages:
    """The files of a folder, one of which is a page at another path.

    Args:
        folder: in this package.
        policy: which content they may load and run, as `Content-Security-Policy`.
    """

    def __init__(self, folder: str, policy: str) -> None:
        self._folder = folder
        self._policy = policy
        self._files = {
            file.name: self._file(file.name, file.read_bytes())
            for file in files("secateur.service").joinpath(folder).iterdir()
            if file.name.endswith(tuple(_TYPES))
        }

    def _file(self, name: str, content: bytes) -> _File:
        headers = {
            "Content-Type": _TYPES[name[name.rindex(".") :]],
            "Content-Security-Policy": self._policy,
            "Cache-Control": "no-cache",  # ask each time; the tag makes that cheap
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        }
        return _File(content, headers)

    def page(self, request: Request) -> Response:
        """Return the page, whose links are relative to the service's root."""
        name = "index.html"
        file = self._files[name]
        if root := root_of(request.scope):
            file = self._file(name, _RELATIVE.sub(rb'\1="' + root.encode(), file.content))
        return _answer(request, file)

    def file(self, request: Request, name: str) -> Response:
        """Return a file.

        Raises:
            HTTPException: there is none of that name.
        """
        if name not in self._files:
            raise HTTPException(404, f"{self._folder} has no {name!r}")
        return _answer(request, self._files[name])


def _answer(request: Request, file: _File) -> Response:
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.headers["ETag"] in known or "*" in known:
        return Response(status_code=304, headers=file.headers)
    return Response(file.content, headers=file.headers)
