"""What is the same however bytes travel: a client's settings, and the verdict on each try of a request."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from secateur.client.errors import BadResponseError, ServiceError, ServiceUnavailableError
from secateur.client.retrying import RETRIED, Attempts, Retry, parse_retry_after
from secateur.client.wire import error_of
from secateur.models.errors import InputError, MissingExtraError, shown

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

OnError = Literal["raise", "passthrough"]

DEFAULT_URL = "http://127.0.0.1:8080"  # where `secateur serve` listens
URL_VARIABLE = "SECATEUR_URL"
KEY_VARIABLE = "SECATEUR_API_KEY"
_CONNECT_S = 10.0  # a host that does not answer at all is tried again sooner than one that works on its answer


def need_httpx() -> None:
    """Raise when httpx is not there.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import httpx  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("httpx", "client") from error


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise InputError("url", f"{shown(url)} is not an HTTP address", f"give one such as {DEFAULT_URL}")
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Whom a client asks, and how patiently; see `Client`.

    Raises:
        InputError: one of them is wrong.
    """

    url: str
    api_key: str | None = field(repr=False)
    model: str | None
    timeout_s: float
    retry: Retry
    on_error: OnError
    max_connections: int
    service_timeout_s: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _address(self.url))
        if self.api_key is not None and not (self.api_key and self.api_key.isascii() and self.api_key.isprintable()):
            problem = "is empty or has characters that no HTTP header can carry"
            raise InputError("api_key", problem, "mind a line break at its end, or leave it out")
        if not self.timeout_s > 0:
            raise InputError("timeout_s", f"{self.timeout_s!r} is not positive", "give seconds")
        if self.on_error not in ("raise", "passthrough"):
            raise InputError("on_error", f"{shown(self.on_error)} is unknown", "use raise or passthrough")
        if self.max_connections < 1:
            raise InputError("max_connections", f"{self.max_connections!r} is less than 1", "give 1 or more")
        if self.service_timeout_s is not None and not self.service_timeout_s >= 1e-3:
            raise InputError("service_timeout_s", f"{self.service_timeout_s!r} is less than 1 ms", "give seconds")

    @classmethod
    def read(cls, url: str | None, api_key: str | None, **others: Any) -> ClientSettings:
        """Return settings; a missing address or key is read from the environment, now."""
        url = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
        return cls(url, api_key or os.environ.get(KEY_VARIABLE) or None, **others)

    @property
    def public_url(self) -> str:
        """The address without a user and password."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def http_options(self) -> dict[str, Any]:
        """Return arguments of httpx's clients."""
        import httpx

        own = {"User-Agent": "secateur-client", "Content-Type": "application/json"}
        if self.api_key is not None:
            own["Authorization"] = f"Bearer {self.api_key}"
            own["X-Api-Key"] = self.api_key  # a user in the url, for a proxy, takes the place of Authorization
        if self.service_timeout_s is not None:
            own["X-Request-Timeout-Ms"] = str(int(self.service_timeout_s * 1e3))
        limits = httpx.Limits(max_connections=self.max_connections, max_keepalive_connections=self.max_connections)
        return {
            "base_url": self.url,
            "headers": own,
            "limits": limits,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def timeout_of(attempts: Attempts) -> httpx.Timeout:
    """Return how long httpx may be silent in the try that begins."""
    import httpx

    left = max(attempts.left_s, 1e-3)
    return httpx.Timeout(left, connect=min(left, _CONNECT_S))


def judge(outcome: Answer | Exception, attempts: Attempts, settings: ClientSettings, offset: int = 0) -> bytes | float:
    """Return the content of a good answer, or the seconds to wait before another try.

    Args:
        outcome: the answer, or what was raised instead.
        attempts: so far.
        settings: of the client.
        offset: index of the first passage that was sent.

    Raises:
        ServiceError: there is no answer and no other try.
    """
    if isinstance(outcome, Answer):
        if 200 <= outcome.status < 300:
            return outcome.content
        error = error_of(outcome.status, outcome.content, offset)
        again = outcome.status in RETRIED
        retry_after = parse_retry_after(outcome.headers.get("retry-after"))
    else:
        error, again = _failure(outcome, settings)
        retry_after = None
    wait = attempts.wait_s(retry_after) if again else None
    if wait is None:
        if attempts.failures > 1:
            error.args = (f"{error.args[0]} (tried {attempts.failures} times)",)
        raise error from (None if isinstance(outcome, Answer) else outcome)
    log.info("%s; trying again in %.2f s", error, wait)
    return wait


def _failure(raised: Exception, settings: ClientSettings) -> tuple[ServiceError, bool]:
    """Return the error that an exception of httpx stands for, and whether another try may help."""
    import httpx

    where = settings.public_url
    if isinstance(raised, httpx.ConnectTimeout):
        return ServiceUnavailableError(f"{where} cannot be reached: no connection in time"), True
    if isinstance(raised, httpx.TimeoutException | TimeoutError):
        message = f"no answer from {where} within {settings.timeout_s:g} s; send fewer passages, or raise timeout_s"
        return ServiceUnavailableError(message), False
    if isinstance(raised, httpx.RemoteProtocolError):
        return BadResponseError(f"{where} gave half an answer, or none that is HTTP: {raised}"), True
    if isinstance(raised, httpx.TransportError):
        return ServiceUnavailableError(f"{where} cannot be reached: {type(raised).__name__}: {raised}"), True
    if isinstance(raised, httpx.DecodingError):
        return BadResponseError(f"{where} gave an answer that cannot be decompressed: {raised}"), False
    raise raised
