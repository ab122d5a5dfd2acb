"""Requests to a service: connections, a deadline over all attempts, and the error of each failure."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import os
import random
import ssl
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import httpx

from secateur.client.answers import Answers
from secateur.client.errors import BadResponseError, ServiceError, ServiceUnavailableError, one_line, quoted
from secateur.client.settings import ClientSettings
from secateur.models.errors import InputError, shown

log = logging.getLogger(__name__)

BASE_S = 0.25  # bound of the first wait; it doubles with each further one
CAP_S = 8.0  # largest bound
MAX_RETRY_AFTER_S = 30.0
_LIMIT = 1 << 20  # bytes of an answer about the service
_CONNECT_S = 10.0  # an unreachable host is tried again sooner than one that is working on its answer
# Statuses that another try may turn into an answer. Not 500, a request on which the model fails, and not 504, for
# which the service has already spent the request's whole time.
_RETRIED = frozenset({429, 502, 503})


class Connections:
    """The connections of a client, a set for each event loop. They are closed with the loop that opened them.

    Raises:
        InputError: SSL_CERT_FILE or SSL_CERT_DIR cannot be read.
    """

    def __init__(self, settings: ClientSettings, answers: Answers) -> None:
        self._settings = settings
        self._answers = answers
        self._where = f"{settings.public_url}{settings.route.via}"  # for messages
        context = _ssl_context(settings)
        proxy = settings.route.proxy
        if proxy is not None and proxy.url.scheme == "https":
            proxy = httpx.Proxy(proxy.url, ssl_context=context, auth=proxy.auth, headers=proxy.headers)
        most = settings.max_connections
        self._arguments: dict[str, Any] = {
            "base_url": settings.public_url,  # httpx logs addresses with their passwords
            "headers": settings.headers(),
            "limits": httpx.Limits(max_connections=most, max_keepalive_connections=most),
            "proxy": proxy,
            "timeout": httpx.Timeout(None, connect=_CONNECT_S),  # `try_once` bounds the rest
            "trust_env": False,  # the environment may have changed
            "verify": context,
        }
        self._by_loop: dict[asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[None, None]]] = {}

    async def send(
        self, method: str, path: str, content: bytes | None = None, *, limit: int = _LIMIT, offset: int = 0
    ) -> bytes:
        """Send a request, and again where that may help; return the body of the good answer.

        The answer may have a limit in bytes. The offset is the index of the first passage in the caller's list.

        Raises:
            ServiceError: No good answer came. It has no cause, because exceptions of httpx hold the headers.
        """
        deadline = time.monotonic() + self._settings.timeout_s
        failures = 0
        while True:
            outcome = await self.try_once(method, path, content, deadline=deadline, limit=limit)
            if isinstance(outcome, httpx.Response) and outcome.is_success:
                return outcome.content
            error, again = self.error_of(outcome, offset)
            failures += 1
            headers = outcome.headers if isinstance(outcome, httpx.Response) else {}
            wait = backoff_s(failures, parse_retry_after(headers.get("retry-after")))
            if not again or failures > self._settings.retries or time.monotonic() + wait >= deadline:
                if failures > 1:
                    error.args = (f"{error.args[0]} (tried {failures} times)",)
                raise error
            log.info("%s; trying again in %.2f s", error, wait)
            await asyncio.sleep(wait)

    async def try_once(
        self, method: str, path: str, content: bytes | None = None, *, deadline: float, limit: int = _LIMIT
    ) -> httpx.Response | Exception:
        """Send a request; return the answer or the exception.

        The deadline, a time of `time.monotonic`, is for the whole answer. A route that cannot be used, and an answer
        that is compressed or too long, are raised.
        """
        if problem := self._settings.route.problem:
            raise ServiceUnavailableError(f"{self._where} cannot be reached: {problem}")
        http = await self._http()
        try:
            async with (
                asyncio.timeout(deadline - time.monotonic()),
                http.stream(method, path, content=content) as response,
            ):
                return await self._read(response, limit)
        except (httpx.HTTPError, UnicodeError, TimeoutError) as error:
            return error

    async def _read(self, response: httpx.Response, limit: int) -> httpx.Response:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        refused = f"{self._where} sent an answer that is"
        if encoding not in ("", "identity"):
            raise BadResponseError(f"{refused} compressed ({shown(encoding, 20)}), which was not accepted")
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > limit:
                raise BadResponseError(f"{refused} longer than {limit} bytes, the most that this request can need")
        return httpx.Response(response.status_code, headers=response.headers, content=bytes(content))

    def error_of(self, outcome: httpx.Response | Exception, offset: int = 0) -> tuple[ServiceError, bool]:
        """Return the error of a bad answer or an exception, and whether another attempt may help."""
        settings = self._settings
        where, hint = f"{self._where} cannot be reached", settings.route.hint
        if isinstance(outcome, httpx.Response):
            status = outcome.status_code
            error = self._answers.error(status, outcome.content, offset)
            if settings.route.proxy is not None and error.detail is None:
                page = f": {quoted(outcome.content, settings.hide)}" if outcome.content.strip() else ""
                problem = f"status {status} came from the proxy, not from the service{page}"
                error = ServiceUnavailableError(f"{where}: {problem}{hint}", status=status)
            return error, status in _RETRIED
        what = one_line(str(outcome), settings.hide)
        match outcome:
            case httpx.ConnectTimeout():
                return ServiceUnavailableError(f"{where}: no connection in time{hint}"), True
            case httpx.TimeoutException() | TimeoutError():
                within = f"no answer from {self._where} within {settings.timeout_s:g} s"
                return ServiceUnavailableError(f"{within}; send fewer passages, or raise timeout_s"), False
            case httpx.RemoteProtocolError():
                problem = f"{self._where} sent an incomplete answer, or one that is not HTTP: {what}"
                return BadResponseError(problem), True
            case httpx.ProxyError():  # CONNECT was refused; the status is only in the text
                refusal = int(what[:3]) if what[:3].isdigit() else None
                error = ServiceUnavailableError(f"{where}: the proxy said {what}{hint}", status=refusal)
                return error, refusal is None or refusal in _RETRIED
        error = ServiceUnavailableError(f"{where}: {type(outcome).__name__}: {what}{hint}")
        return error, isinstance(outcome, httpx.TransportError)

    async def _http(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            for other in [other for other in self._by_loop if other.is_closed()]:  # closed without asyncio.run
                self._by_loop.pop(other, None)
            http = httpx.AsyncClient(**self._arguments)
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


def _ssl_context(settings: ClientSettings) -> ssl.SSLContext:
    """Return the certificates to trust: those of SSL_CERT_FILE or SSL_CERT_DIR, or else of certifi."""
    proxy = settings.route.proxy
    if not settings.url.startswith("https:") and (proxy is None or proxy.url.scheme != "https"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; reading certificates takes time
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        reason = error.strerror or type(error).__name__
    name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
    problem = f"{shown(os.environ.get(name))} cannot be read as certificates ({reason})"
    raise InputError(name, problem, "name a PEM file of certificates, or unset it")


def backoff_s(failures: int, retry_after_s: float | None = None) -> float:
    """Return the seconds to wait before the next attempt: full jitter, added to what the service asked for.

    The wait is drawn evenly below a bound, so that clients do not return at the same moment. Own code, not tenacity,
    which knows neither a Retry-After nor a deadline over all attempts.
    """
    jitter = random.uniform(0.0, min(CAP_S, BASE_S * 2.0 ** min(failures - 1, 60)))
    return min(retry_after_s or 0.0, MAX_RETRY_AFTER_S) + jitter


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, a number or an HTTP date; None if it is absent or malformed."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:10])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
