"""Requests through proxies: the client's address, the scheme, the path prefix and the method."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secateur.service.middleware import HTTPMiddleware
from secateur.service.settings import ROOT_PATH, Settings

_Address = IPv4Address | IPv6Address

_MAX_PREFIX = 256
_PREFIX = re.compile(ROOT_PATH, re.ASCII)


class TrustedProxies:
    """The addresses of trusted proxies.

    Args:
        proxies: Addresses and networks; ``*`` for any.

    Raises:
        ValueError: One is neither.
    """

    def __init__(self, proxies: Sequence[str]) -> None:
        self._all = "*" in proxies
        self._networks = [ip_network(proxy) for proxy in proxies if proxy != "*"]

    def __contains__(self, address: _Address | None) -> bool:
        """Return whether an address is trusted; an unknown one is not."""
        return address is not None and (self._all or any(address in network for network in self._networks))


class ForwardedMiddleware(HTTPMiddleware):
    """Replaces the client's address and the scheme by those that a trusted proxy forwards.

    Own code, since uvicorn's middleware accepts any text as an address.

    Args:
        app: Inner application.
        proxies: Addresses and networks of trusted proxies.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[str]) -> None:
        super().__init__(app)
        self._trusted = TrustedProxies(proxies)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with the client's address and scheme."""
        peer = peer_of(scope)
        if peer is not None and peer in self._trusted:
            headers = scope["headers"]
            forwarded = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
            scope["client"] = (str(self._client(peer, forwarded.split(","))), 0)
            scheme = next((value.strip() for name, value in headers if name == b"x-forwarded-proto"), b"")
            if scheme in (b"http", b"https"):
                scope["scheme"] = scheme.decode()
        await self.app(scope, receive, send)

    def _client(self, peer: _Address, forwarded: Sequence[str]) -> _Address:
        """Return the last address that is not a proxy's: each proxy appends the address of its own client."""
        for text in reversed(forwarded):
            if peer not in self._trusted or (named := _address(text.strip())) is None:
                break
            peer = named
        return peer


def peer_of(scope: Scope) -> _Address | None:
    """Return the address that opened the connection, if it is known."""
    client = scope.get("client")
    return _address(client[0]) if client else None


def _address(text: str) -> _Address | None:
    """Return an address, without the port that some proxies append; None for anything else."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return None if address.scope_id else address.ipv4_mapped or address  # a scope id is arbitrary text
    return address


class PathMiddleware(HTTPMiddleware):
    """Makes inner code see one path and method for each route: no prefix, no trailing slash, and GET for HEAD.

    It must be outside of `ForwardedMiddleware`, since `X-Forwarded-Prefix` is accepted only from a trusted peer. The
    prefix is not put into ASGI's ``root_path``: code that reads it would remove the prefix once more.

    Args:
        app: Inner application.
        settings: Settings of the service.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        super().__init__(app)
        self._root = settings.root_path
        self._trusted = TrustedProxies(settings.trusted_proxies)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with the path and method of its route."""
        prefix, path, method = self._prefix(scope), scope["path"], scope["method"]
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            path = path[len(prefix) :]  # the proxy has not removed it
        # From the requested address to the root of the service.
        root = "../" * (path.count("/") - 1) if path else f"{prefix.rpartition('/')[2]}/"
        scope.setdefault("state", {}).update(prefix=prefix, root=root, method=method)
        scope["path"] = path.rstrip("/") or "/"
        if method != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        scope["method"] = "GET"
        await self.app(scope, receive, send_head)

    def _prefix(self, scope: Scope) -> str:
        given = scope.get("root_path", "")
        if given:  # from the server, or from an application that mounts this one
            scope["root_path"] = ""
            return str(given).rstrip("/")
        if self._root:
            return self._root
        forwarded: bytes = dict(scope["headers"]).get(b"x-forwarded-prefix", b"")
        if forwarded and peer_of(scope) in self._trusted:
            prefix = forwarded.decode("latin-1").strip().rstrip("/")
            if len(prefix) <= _MAX_PREFIX and _PREFIX.fullmatch(prefix):
                return prefix
        return ""


def prefix_of(scope: Scope) -> str:
    """Return the path prefix that clients use: empty, or like ``/prune``."""
    return str(scope.get("state", {}).get("prefix", ""))


def root_of(scope: Scope) -> str:
    """Return the relative address of the service's root; empty for a page directly in it."""
    return str(scope.get("state", {}).get("root", ""))


def method_of(scope: Scope) -> str:
    """Return the method that the client used."""
    return str(scope.get("state", {}).get("method", scope["method"]))
