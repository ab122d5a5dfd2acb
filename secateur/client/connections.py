"""Open connections to a service, one set for each process or event loop, with a deadline for each request."""

from __future__ import annotations

import asyncio
import math
import os
import ssl
import time
from collections.abc import AsyncGenerator, Iterable
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

from secateur.client.exchange import HttpRequest, HttpResponse, RejectedResponseError, ResponseReader
from secateur.client.settings import ClientSettings
from secateur.models.errors import InputError, shown

_CHUNK = 4096  # bytes written under one timeout, because a socket's timeout starts again with every packet sent
_CONNECT_S = 10.0  # an unreachable host is tried again sooner than one that is working on its answer
_FAILURES = (httpx.HTTPError, RejectedResponseError, UnicodeError, TimeoutError)

# Time of `time.monotonic` by which the request must be answered that this thread sends.
_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


def _left(timeout: float | None, error: type[Exception]) -> float:
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise error("the time is up")
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    """A socket whose reads and writes all end by the deadline; httpx limits only the silence between two."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self.close = stream.close  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _CHUNK):
            self._stream.write(buffer[start : start + _CHUNK], _left(timeout, httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout, httpcore.ConnectTimeout)))


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


def _ssl_context(settings: ClientSettings) -> ssl.SSLContext:
    """Return the certificates to trust: those of SSL_CERT_FILE or SSL_CERT_DIR, or else of certifi.

    Raises:
        InputError: the variable's file cannot be read.
    """
    if not any(address.startswith("https:") for address in (settings.url, settings.route.address)):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; reading certificates takes time
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        reason = error.strerror or type(error).__name__
    name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
    problem = f"{shown(os.environ.get(name))} cannot be read as certificates ({reason})"
    raise InputError(name, problem, "name a PEM file of certificates, or unset it")


class _Connections:
    """Arguments for httpx. It must not read the environment, which may have changed.

    Args:
        settings: settings of the client.

    Raises:
        InputError: SSL_CERT_FILE or SSL_CERT_DIR cannot be read.
    """

    def __init__(self, settings: ClientSettings) -> None:
        context = _ssl_context(settings)
        proxy = settings.route.proxy
        if proxy is not None and proxy.url.scheme == "https":
            proxy = httpx.Proxy(proxy.url, ssl_context=context, auth=proxy.auth, headers=proxy.headers)
        most = settings.max_connections
        limits = httpx.Limits(max_connections=most, max_keepalive_connections=most)
        self._transport: dict[str, Any] = {"verify": context, "trust_env": False, "limits": limits, "proxy": proxy}
        self._client: dict[str, Any] = {
            "base_url": settings.public_url,  # httpx logs addresses with their passwords
            "headers": settings.headers(),
            "trust_env": False,
        }


def _arguments(request: HttpRequest) -> dict[str, Any]:
    left = max(request.deadline - time.monotonic(), 1e-3)
    timeout = httpx.Timeout(left, connect=min(left, _CONNECT_S))
    return {"method": request.method, "url": request.path, "content": request.content, "timeout": timeout}


class SyncConnections(_Connections):
    """Connections of a `Client`. May be shared between threads; a forked child opens its own."""

    def __init__(self, settings: ClientSettings) -> None:
        super().__init__(settings)
        self._by_process: dict[int, httpx.Client] = {}  # without a lock, which a fork could leave locked for ever

    def send(self, request: HttpRequest) -> HttpResponse | Exception:
        """Send a request; return its answer, or what was raised instead."""
        try:
            time.sleep(request.wait_s)
            _deadline.set(request.deadline)
            with self._http().stream(**_arguments(request)) as response:
                reader = ResponseReader(response, request.limit)
                for chunk in response.iter_raw():
                    reader.add(chunk)
            return reader.complete()
        except _FAILURES as error:
            return error

    def _http(self) -> httpx.Client:
        found = self._by_process.get(os.getpid())
        if found is None:
            transport = httpx.HTTPTransport(**self._transport)
            transport._pool._network_backend = _Backend()  # httpx has no argument for it
            made = httpx.Client(transport=transport, **self._client)
            found = self._by_process.setdefault(os.getpid(), made)
        return found

    def close(self) -> None:
        """Close the connections of this process; a later request opens new ones."""
        found = self._by_process.pop(os.getpid(), None)
        if found is not None:
            found.close()


class AsyncConnections(_Connections):
    """Connections of an `AsyncClient`. Each belongs to the event loop that opened it, and is closed with it."""

    def __init__(self, settings: ClientSettings) -> None:
        super().__init__(settings)
        self._by_loop: dict[asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[None, None]]] = {}

    async def send(self, request: HttpRequest) -> HttpResponse | Exception:
        """Send a request; return its answer, or what was raised instead."""
        try:
            await asyncio.sleep(request.wait_s)
            http = await self._http()
            async with (
                asyncio.timeout(request.deadline - time.monotonic()),
                http.stream(**_arguments(request)) as response,
            ):
                reader = ResponseReader(response, request.limit)
                async for chunk in response.aiter_raw():
                    reader.add(chunk)
            return reader.complete()
        except _FAILURES as error:
            return error

    async def _http(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            for other in [other for other in self._by_loop if other.is_closed()]:  # closed without asyncio.run
                self._by_loop.pop(other, None)
            transport = httpx.AsyncHTTPTransport(**self._transport)
            http = httpx.AsyncClient(transport=transport, **self._client)
            end = self._close_with(loop, http)
            self._by_loop[loop] = (http, end)
            await anext(end)
        return self._by_loop[loop][0]

    async def _close_with(self, loop: asyncio.AbstractEventLoop, http: httpx.AsyncClient) -> AsyncGenerator[None, None]:
        """Close httpx's client when its loop ends: asyncio.run then closes all asynchronous generators."""
        try:
            yield
        finally:
            self._by_loop.pop(loop, None)
            await http.aclose()

    async def close(self) -> None:
        """Close the connections of the running loop; a later request opens new ones."""
        found = self._by_loop.get(asyncio.get_running_loop())
        if found is not None:
            await found[1].aclose()
