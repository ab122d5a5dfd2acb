"""Open connections to a service: one set for each process and event loop, under one deadline for each try."""

from __future__ import annotations

import asyncio
import math
import os
import ssl
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from secateur.models.errors import InputError, shown

if TYPE_CHECKING:
    from secateur.client.exchange import ClientSettings

_SLICE = 4096  # bytes written under one timeout, for a socket's timeout begins anew with every packet it can send

_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let everything that `SyncConnections` do inside take at most so long, together."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def _left(timeout: float | None, error: type[Exception]) -> float:
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise error("the time is up")
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    """A socket whose every read and write ends by the deadline; httpx alone bounds only the silence between two."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _SLICE):
            self._stream.write(buffer[start : start + _SLICE], _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, left, local_address, socket_options))


class _Transport(httpx.HTTPTransport):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pool._network_backend = _Backend()  # httpx has no argument for it


def _ssl_context(settings: ClientSettings) -> ssl.SSLContext:
    """Return what certificates are checked with: SSL_CERT_FILE or SSL_CERT_DIR, or else those of certifi.

    Raises:
        InputError: the variable's file cannot be read.
    """
    if not any(address.startswith("https:") for address in (settings.url, settings.route.address)):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and costs no time
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        reason = error.strerror or type(error).__name__
    name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
    problem = f"{shown(os.environ.get(name))} cannot be read as certificates ({reason})"
    raise InputError(name, problem, "name a PEM file of certificates, or unset it")


class _Options:
    """Arguments of httpx's clients and transports. The environment is not read again, by httpx least of all."""

    def __init__(self, settings: ClientSettings) -> None:
        context = _ssl_context(settings)
        proxy = settings.route.proxy
        if proxy is not None:
            own = context if proxy.url.scheme == "https" else None
            proxy = httpx.Proxy(proxy.url, ssl_context=own, auth=proxy.auth, headers=proxy.headers)
        limits = httpx.Limits(
            max_connections=settings.max_connections, max_keepalive_connections=settings.max_connections
        )
        self.transport: dict[str, Any] = {"verify": context, "trust_env": False, "limits": limits, "proxy": proxy}
        self.client: dict[str, Any] = {
            "base_url": settings.public_url,  # httpx logs addresses with the password in them
            "headers": settings.headers(),
            "trust_env": False,
        }


class SyncConnections:
    """Connections of a `Client`. May be shared between threads; a forked child opens its own.

    Args:
        settings: of the client.

    Raises:
        InputError: SSL_CERT_FILE or SSL_CERT_DIR cannot be read.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._options = _Options(settings)
        self._by_process: dict[int, httpx.Client] = {}  # without a lock, which a fork could leave locked for ever

    def http(self) -> httpx.Client:
        """Return httpx's client of this process."""
        process = os.getpid()
        found = self._by_process.get(process)
        if found is None:
            transport = _Transport(**self._options.transport)
            made = httpx.Client(transport=transport, **self._options.client)
            found = self._by_process.setdefault(process, made)
        return found

    def close(self) -> None:
        """Close those that are open; a later request opens new ones."""
        found = self._by_process.pop(os.getpid(), None)
        if found is not None:
            found.close()


class AsyncConnections:
    """Connections of an `AsyncClient`. Each belongs to the event loop that opened it, and is closed with it.

    Args:
        settings: of the client.

    Raises:
        InputError: SSL_CERT_FILE or SSL_CERT_DIR cannot be read.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._options = _Options(settings)
        self._by_loop: dict[asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[None, None]]] = {}

    async def http(self) -> httpx.AsyncClient:
        """Return httpx's client of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            for other in list(self._by_loop):
                if other.is_closed():  # by hand, without what asyncio.run does before
                    self._by_loop.pop(other, None)
            transport = httpx.AsyncHTTPTransport(**self._options.transport)
            made = httpx.AsyncClient(transport=transport, **self._options.client)
            end = self._close_with(loop, made)
            self._by_loop[loop] = (made, end)
            await anext(end)
        return self._by_loop[loop][0]

    async def _close_with(self, loop: asyncio.AbstractEventLoop, http: httpx.AsyncClient) -> AsyncGenerator[None, None]:
        """Close a client when its loop ends: asyncio.run and its like then close all asynchronous generators."""
        try:
            yield
        finally:
            self._by_loop.pop(loop, None)
            await http.aclose()

    async def close(self) -> None:
        """Close those of the running loop; a later request opens new ones."""
        found = self._by_loop.get(asyncio.get_running_loop())
        if found is not None:
            await found[1].aclose()
