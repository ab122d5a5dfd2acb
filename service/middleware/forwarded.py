"""Who asks, as proxies say: `X-Forwarded-For` and `X-Forwarded-Proto`, from the proxies that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

_Address = IPv4Address | IPv6Address


class Trusted:
    """The addresses of trusted proxies.

    Args:
        proxies: addresses and networks; ``*`` for any.

    Raises:
        ValueError: one is neither.
    """

    def __init__(self, proxies: Sequence[str]) -> None:
        self._all = "*" in proxies
        self._networks = [ip_network(proxy) for proxy in proxies if proxy != "*"]

    def __contains__(self, address: _Address) -> bool:
        """Return whether it is one of them."""
        return self._all or any(address in network for network in self._networks)


class Forwarded:
    """ASGI middleware; see the module. What is no address is not believed.

    Args:
        app: that is told who asks.
        proxies: see `Trusted`.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[str]) -> None:
        self._app = app
        self._trusted = Trusted(proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Replace the client's address and the scheme where a trusted proxy says them."""
        peer = peer_of(scope)
        if scope["type"] == "http" and peer is not None and peer in self._trusted:
            headers = scope["headers"]
            said = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
            scope["client"] = (str(self._client(peer, said.split(","))), 0)
            scheme = next((value.strip() for name, value in headers if name == b"x-forwarded-proto"), b"")
            if scheme in (b"http", b"https"):
                scope["scheme"] = scheme.decode()
        await self._app(scope, receive, send)

    def _client(self, peer: _Address, said: Sequence[str]) -> _Address:
        """Return the first address that is no proxy's, from the last on: each proxy appends whom it was asked by."""
        for text in reversed(said):
            if peer not in self._trusted or (named := _address(text.strip())) is None:
                break
            peer = named
        return peer


def peer_of(scope: Scope) -> _Address | None:
    """Return the address of whoever has opened the connection, if it is known."""
    client = scope.get("client")
    return _address(client[0]) if client else None


def _address(text: str) -> _Address | None:
    """Read an address, of which some proxies write the port, too; None for anything else."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id:  # free text
            return None
        return address.ipv4_mapped or address
    return address
