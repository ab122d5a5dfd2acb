"""Who asks, as proxies say: only those that are named are believed, and only addresses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from secateur.service.middleware.proxies import ProxyMiddleware
from secateur.service.settings import Settings


def seen(proxies: tuple[str, ...], peer: str | None, *headers: tuple[str, str]) -> tuple[Any, str]:
    """Return the client's address and the scheme that the application sees."""
    scope: dict[str, Any] = {
        "type": "http",
        "client": (peer, 4321) if peer else None,
        "scheme": "http",
        "path": "/",
        "method": "GET",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    found: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope)

    asyncio.run(ProxyMiddleware(app, Settings(trusted_proxies=proxies))(scope, None, None))  # type: ignore[arg-type]
    client = found[0]["client"]
    return client and client[0], found[0]["scheme"]


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4321", "203.0.113.9"),
        ("[2001:db8::1]:4321", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),  # what stands before, the client has written
        ("198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("junk, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, junk", "10.0.0.1"),
        ("key 12345678", "10.0.0.1"),
        ("1.2.3.4 caller=key", "10.0.0.1"),
        ("fe80::1%\x1b[31m", "10.0.0.1"),
        ("fe80::1%caller=x", "10.0.0.1"),
        ("1.2.3.4\xa0", "1.2.3.4"),
        ("127.1", "10.0.0.1"),
        ("0x7f000001", "10.0.0.1"),
        ("", "10.0.0.1"),
        (",,", "10.0.0.1"),
        ("1" * 10_000, "10.0.0.1"),
    ],
)
def test_the_last_address_that_is_no_proxy_asks(said: str, client: str) -> None:
    assert seen(("10.0.0.0/8",), "10.0.0.1", ("x-forwarded-for", said))[0] == client


def test_several_headers_are_one_list() -> None:
    headers = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "203.0.113.9, 10.0.0.2")]
    assert seen(("10.0.0.0/8",), "10.0.0.1", *headers)[0] == "203.0.113.9"


@pytest.mark.parametrize(
    ("proxies", "peer", "believed"),
    [
        ((), "127.0.0.1", False),
        (("127.0.0.1",), "127.0.0.1", True),
        (("127.0.0.1",), "::ffff:127.0.0.1", True),
        (("127.0.0.1",), "127.0.0.2", False),
        (("::1",), "127.0.0.1", False),
        (("10.0.0.0/8", "::1"), "::1", True),
        (("*",), "192.0.2.1", True),
        (("*",), None, False),
    ],
)
def test_only_named_proxies_are_believed(proxies: tuple[str, ...], peer: str | None, believed: bool) -> None:
    headers = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")]
    assert seen(proxies, peer, *headers) == (("203.0.113.9", "https") if believed else (peer, "http"))


@pytest.mark.parametrize("scheme", ["gopher", "https, http", "javascript", ""])
def test_another_scheme_is_not_believed(scheme: str) -> None:
    assert seen(("*",), "192.0.2.1", ("x-forwarded-proto", scheme))[1] == "http"
