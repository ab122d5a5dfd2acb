"""One request of a client as a generator: it yields what to send, and receives the outcome.

`Client` and `AsyncClient` run the same generators; only sending differs between them.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import httpx

from secateur.client.answers import read_error
from secateur.client.errors import BadResponseError, ServiceError, ServiceUnavailableError
from secateur.client.messages import one_line, quoted
from secateur.client.retrying import RETRIED, backoff_s, parse_retry_after
from secateur.client.settings import ClientSettings
from secateur.models.errors import shown

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One HTTP request to send.

    Attributes:
        method: HTTP method.
        path: path below the service's address.
        content: body of the request.
        limit: size of the largest accepted answer, in bytes.
        wait_s: seconds to wait before it is sent.
        deadline: time of `time.monotonic` by which the whole answer must have arrived.
    """

    method: str
    path: str
    content: bytes | None = None
    limit: int = 1 << 20
    wait_s: float = 0.0
    deadline: float = math.inf


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes


Exchange = Generator[HttpRequest, HttpResponse | Exception, T]
"""Yields requests to send, receives the answer or exception of each, and returns its result."""


class RejectedResponseError(Exception):
    """An answer that is not read to its end: compressed, or too long."""


class ResponseReader:
    """Collects an answer whose headers have arrived, if it is not compressed, up to a limit in bytes."""

    def __init__(self, response: httpx.Response, limit: int) -> None:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise RejectedResponseError(f"is compressed ({shown(encoding, 20)}), which was not accepted")
        self._response = response
        self._limit = limit
        self._body = bytearray()

    def add(self, chunk: bytes) -> None:
        """Add a piece of the body."""
        if len(self._body) + len(chunk) > self._limit:
            raise RejectedResponseError(f"is longer than {self._limit} bytes, the most that this request can need")
        self._body += chunk

    def complete(self) -> HttpResponse:
        """Return the answer."""
        return HttpResponse(self._response.status_code, self._response.headers, bytes(self._body))


def send(request: HttpRequest, settings: ClientSettings, offset: int = 0) -> Exchange[HttpResponse]:
    """Send a request, and again where that may help; return the answer.

    Args:
        request: the request, without wait and deadline.
        settings: settings of the client.
        offset: index of the request's first passage in the caller's list.

    Raises:
        ServiceError: no good answer came. It has no cause, because exceptions of httpx hold the headers.
    """
    deadline = time.monotonic() + settings.timeout_s
    failures, wait = 0, 0.0
    while True:
        outcome = yield from send_once(replace(request, wait_s=wait, deadline=deadline), settings)
        if isinstance(outcome, HttpResponse) and 200 <= outcome.status < 300:
            return outcome
        error, again = error_of(outcome, settings, offset)
        retry_after = outcome.headers.get("retry-after") if isinstance(outcome, HttpResponse) else None
        failures += 1
        wait = backoff_s(failures, parse_retry_after(retry_after))
        if not again or failures > settings.retries or time.monotonic() + wait >= deadline:
            if failures > 1:
                error.args = (f"{error.args[0]} (tried {failures} times)",)
            raise error
        log.info("%s; trying again in %.2f s", error, wait)


def send_once(request: HttpRequest, settings: ClientSettings) -> Exchange[HttpResponse | Exception]:
    """Send a request; return the answer or the exception.

    Raises:
        ServiceUnavailableError: the proxy variables name a proxy that cannot be used.
    """
    if settings.route.problem:
        raise ServiceUnavailableError(f"{settings.where} cannot be reached: {settings.route.problem}")
    return (yield request)


def error_of(outcome: HttpResponse | Exception, settings: ClientSettings, offset: int) -> tuple[ServiceError, bool]:
    """Return the error of a bad answer or an exception, and whether another try may help."""
    if isinstance(outcome, HttpResponse):
        return _refusal(outcome, settings, offset), outcome.status in RETRIED
    return _failure(outcome, settings)


def _refusal(answer: HttpResponse, settings: ClientSettings, offset: int) -> ServiceError:
    """Return the error of an answer with a bad status."""
    error = read_error(answer.status, answer.content, offset, settings.hide)
    if settings.route.proxy is None or error.detail is not None:
        return error
    page = f": {quoted(answer.content, settings.hide)}" if answer.content.strip() else ""
    return ServiceUnavailableError(
        f"{settings.where} cannot be reached: status {answer.status} came from the proxy, not from the service"
        f"{page}{settings.proxy_hint}",
        status=answer.status,
    )


def _failure(raised: Exception, settings: ClientSettings) -> tuple[ServiceError, bool]:
    """Return the error of an exception, and whether another try may help."""
    where, what, hint = settings.where, one_line(str(raised), settings.hide), settings.proxy_hint
    match raised:
        case RejectedResponseError():
            return BadResponseError(f"{where} sent an answer that {what}"), False
        case httpx.ConnectTimeout():
            return ServiceUnavailableError(f"{where} cannot be reached: no connection in time{hint}"), True
        case httpx.TimeoutException() | TimeoutError():
            message = f"no answer from {where} within {settings.timeout_s:g} s; send fewer passages, or raise timeout_s"
            return ServiceUnavailableError(message), False
        case httpx.RemoteProtocolError():
            return BadResponseError(f"{where} sent an incomplete answer, or one that is not HTTP: {what}"), True
        case httpx.ProxyError():  # CONNECT was refused; the status is only in the text
            status = int(what[:3]) if what[:3].isdigit() else None
            error = ServiceUnavailableError(f"{where} cannot be reached: the proxy said {what}{hint}", status=status)
            return error, status is None or status in RETRIED
    error = ServiceUnavailableError(f"{where} cannot be reached: {type(raised).__name__}: {what}{hint}")
    return error, isinstance(raised, httpx.TransportError)
