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


class ProxyMiddleware(HTTPMiddleware):
    """Makes inner code see each request as its client sent it, and one path and method for each route.

    The client's address and the scheme are those that trusted proxies forward; uvicorn's middleware would accept any
    text as an address. The path has no prefix and no trailing slash, and the method is GET for HEAD. The prefix is not
    put into ASGI's ``root_path``: code that reads it would remove the prefix once more. It is ``request.state.prefix``,
    empty or like ``/prune``. ``request.state.root`` is the relative address of the service's root, empty for a page
    directly in it, and ``request.state.method`` the method that the client used.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        super().__init__(app)
        self._root = settings.root_path
        self._any = "*" in settings.trusted_proxies
        self._networks = [ip_network(proxy) for proxy in settings.trusted_proxies if proxy != "*"]

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with the path and method of its route."""
        peer = _address(scope["client"][0]) if scope.get("client") else None
        trusted = self._trusts(peer)
        prefix, path, method = self._prefix(scope, trusted), scope["path"], scope["method"]
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            path = path[len(prefix) :]  # the proxy has not removed it
        # From the requested address to the root of the service.
        root = "../" * (path.count("/") - 1) if path else f"{prefix.rpartition('/')[2]}/"
        scope.setdefault("state", {}).update(prefix=prefix, root=root, method=method)
        scope["path"] = path.rstrip("/") or "/"
        if peer is not None and trusted:
            forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
            scope["client"] = (str(self._client(peer, forwarded.decode("latin-1").split(","))), 0)
            scheme = next((value.strip() for name, value in scope["headers"] if name == b"x-forwarded-proto"), b"")
            if scheme in (b"http", b"https"):
                scope["scheme"] = scheme.decode()

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        if method == "HEAD":
            scope["method"] = "GET"
        await self.app(scope, receive, send_head if method == "HEAD" else send)

    def _trusts(self, address: _Address | None) -> bool:
        """Return whether an address is that of a trusted proxy; an unknown one is not."""
        return address is not None and (self._any or any(address in network for network in self._networks))

    def _client(self, peer: _Address, forwarded: Sequence[str]) -> _Address:
        """Return the last address that is not a proxy's: each proxy appends the address of its own client."""
        for text in reversed(forwarded):
            if not self._trusts(peer) or (named := _address(text.strip())) is None:
                break
            peer = named
        return peer

    def _prefix(self, scope: Scope, trusted: bool) -> str:
        given = scope.get("root_path", "")
        if given:  # from the server, or from an application that mounts this one
            scope["root_path"] = ""
            return str(given).rstrip("/")
        if self._root:
            return self._root
        forwarded: bytes = dict(scope["headers"]).get(b"x-forwarded-prefix", b"")
        prefix = forwarded.decode("latin-1").strip().rstrip("/")
        return prefix if trusted and len(prefix) <= _MAX_PREFIX and _PREFIX.fullmatch(prefix) else ""


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
