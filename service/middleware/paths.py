"""Which path is asked for: under a proxy's prefix, with a trailing slash, or by HEAD."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secateur.service.middleware.forwarded import Trusted, peer_of
from secateur.service.settings import ROOT_PATH, Settings

_MAX_PREFIX = 256
_PREFIX = re.compile(ROOT_PATH, re.ASCII)


class Paths:
    """ASGI middleware. Inside of it a path is that of a route, and HEAD is GET: each rule has one path to look at.

    It has to be outside of what replaces the client's address, since `X-Forwarded-Prefix` is believed only from a
    trusted proxy. The prefix is kept out of ASGI's ``root_path``: what reads that would take it off once more.

    Args:
        app: that has the routes.
        settings: of the service.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._root = settings.root_path
        self._trusted = Trusted(settings.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on with the route's path and method."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        prefix, path, method = self._prefix(scope), scope["path"], scope["method"]
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            path = path[len(prefix) :]  # the proxy has left it
        # From the address that was asked for to the service's root.
        root = "../" * (path.count("/") - 1) if path else f"{prefix.rpartition('/')[2]}/"
        scope.setdefault("state", {}).update(prefix=prefix, root=root, method=method)
        scope["path"] = path.rstrip("/") or "/"
        if method != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        scope["method"] = "GET"
        await self._app(scope, receive, without_body)

    def _prefix(self, scope: Scope) -> str:
        given = scope.get("root_path", "")
        if given:  # the server's own, or that of an application which this one is mounted in
            scope["root_path"] = ""
            return str(given).rstrip("/")
        if self._root:
            return self._root
        forwarded: bytes = dict(scope["headers"]).get(b"x-forwarded-prefix", b"")
        peer = peer_of(scope)
        if forwarded and peer is not None and peer in self._trusted:
            found = forwarded.decode("latin-1").strip().rstrip("/")
            if len(found) <= _MAX_PREFIX and _PREFIX.fullmatch(found):
                return found
        return ""


def prefix_of(scope: Scope) -> str:
    """Return the path under which clients see the service: empty, or like ``/prune``."""
    return str(scope.get("state", {}).get("prefix", ""))


def root_of(scope: Scope) -> str:
    """Return the relative address of the service's root; empty where the page stands directly in it."""
    return str(scope.get("state", {}).get("root", ""))


def method_of(scope: Scope) -> str:
    """Return the method that the client used."""
    return str(scope.get("state", {}).get("method", scope["method"]))
