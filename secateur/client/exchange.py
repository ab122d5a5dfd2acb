"""What is the same however bytes travel: a client's settings, and the verdict on each try of a request."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from urllib.parse import urlsplit

from secateur.client.errors import BadResponseError, ServiceError, ServiceUnavailableError
from secateur.client.proxies import Route, find_route
from secateur.client.retrying import RETRIED, Attempts, Retry, parse_retry_after
from secateur.client.wire import error_of, one_line, quoted
from secateur.llm.credentials import Redaction, basic_authorization, header_key, public_url, secrets_of
from secateur.models.errors import InputError, MissingExtraError, shown

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

OnError = Literal["raise", "passthrough"]

DEFAULT_URL = "http://127.0.0.1:8080"  # where `secateur serve` listens
URL_VARIABLE = "SECATEUR_URL"
KEY_VARIABLE = "SECATEUR_API_KEY"
ANSWER_LIMIT = 1 << 20  # bytes of an answer that holds no passages
_LONGEST_S = 1e7  # more than a timeout of a socket can be on some systems
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


def _address(url: object) -> str:
    import httpx

    if not isinstance(url, str):
        raise InputError("url", f"{shown(url)} is not a string", f"give an address such as {DEFAULT_URL}")
    url = url.strip()
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and bool(httpx.URL(url).host) and not parts.query and not parts.fragment
        usable = usable and url.isprintable() and not any(character.isspace() for character in url)
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        problem = f"{shown(public_url(url))} is not an HTTP address"
        raise InputError("url", problem, f"give one such as {DEFAULT_URL}, without query and fragment")
    return url.rstrip("/")


def _seconds(name: str, value: object, least: float, problem: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not value >= least:  # type: ignore[operator] # NaN is in no range
        raise InputError(name, f"{shown(value)} {problem if number else 'is not a number'}", "give seconds")
    if value > _LONGEST_S:  # type: ignore[operator]
        raise InputError(name, f"{shown(value)} is too long", f"give at most {_LONGEST_S:g} seconds")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Whom a client asks, and how patiently; see `Client`.

    Attributes:
        route: to the service, by the proxy variables at the time that the settings were made.

    Raises:
        InputError: one of them is wrong.
    """

    url: str = field(repr=False)
    api_key: str | None = field(repr=False)
    model: str | None
    timeout_s: float
    retry: Retry
    on_error: OnError
    max_connections: int
    service_timeout_s: float | None = None
    route: Route = field(init=False)
    hide: Redaction = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        import httpx

        object.__setattr__(self, "url", _address(self.url))
        object.__setattr__(self, "api_key", header_key(self.api_key))
        _seconds("timeout_s", self.timeout_s, 1e-6, "is not positive")
        if self.on_error not in ("raise", "passthrough"):
            raise InputError("on_error", f"{shown(self.on_error)} is unknown", "use raise or passthrough")
        if self.max_connections < 1:
            raise InputError("max_connections", f"{self.max_connections!r} is less than 1", "give 1 or more")
        if self.service_timeout_s is not None:
            _seconds("service_timeout_s", self.service_timeout_s, 1e-3, "is less than 1 ms")
        object.__setattr__(self, "route", find_route(httpx.URL(self.public_url)))
        secrets = [*secrets_of(self.url), *self.route.secrets, *([self.api_key] if self.api_key else [])]
        object.__setattr__(self, "hide", Redaction(secrets))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client is not pickled, for its key would be: make one in each process")

    @classmethod
    def read(cls, url: str | None, api_key: str | None, **others: Any) -> ClientSettings:
        """Return settings; an address or key that is missing or empty is read from the environment, now."""
        given = header_key(api_key) or header_key(os.environ.get(KEY_VARIABLE), KEY_VARIABLE)
        if url is None or (isinstance(url, str) and not url.strip()):
            url = os.environ.get(URL_VARIABLE, "").strip() or DEFAULT_URL
        return cls(url, given, **others)

    @property
    def public_url(self) -> str:
        """The address without a user and password."""
        return public_url(self.url)

    @property
    def where(self) -> str:
        """The service and the way to it, for messages."""
        return f"{self.public_url}{self.route.via}"

    def headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        own = {
            "User-Agent": "secateur-client",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",  # what is not compressed cannot grow in memory
        }
        if self.api_key is not None:
            own["Authorization"] = f"Bearer {self.api_key}"
            own["X-Api-Key"] = self.api_key  # a user in the url takes the place of Authorization
        basic = basic_authorization(self.url)
        if basic is not None:
            own["Authorization"] = basic
        if self.service_timeout_s is not None:
            own["X-Request-Timeout-Ms"] = str(int(self.service_timeout_s * 1e3))
        return own


@dataclass(frozen=True, slots=True)
class Ask:
    """One HTTP request.

    Attributes:
        method: of HTTP.
        path: below the service's address.
        content: its body.
        offset: index of the first passage in it, in the caller's list.
        limit: largest answer that is read, in bytes.
    """

    method: str
    path: str
    content: bytes | None = None
    offset: int = 0
    limit: int = ANSWER_LIMIT


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class UnusableError(Exception):
    """An answer is not read further."""


class UnreachableError(Exception):
    """There is no way to the service."""


class Intake:
    """Takes an answer in, up to a limit.

    Args:
        response: of which the head is there.
        limit: in bytes.

    Raises:
        UnusableError: it is compressed, though that was not asked for.
    """

    def __init__(self, response: httpx.Response, limit: int) -> None:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise UnusableError(f"is compressed ({shown(encoding, 20)}), though that was not asked for")
        self._response = response
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0

    def take(self, chunk: bytes) -> None:
        """Take a piece of the body.

        Raises:
            UnusableError: it is one too many.
        """
        self._size += len(chunk)
        if self._size > self._limit:
            raise UnusableError(f"is longer than {self._limit} bytes, the most that this request can need")
        self._chunks.append(chunk)

    def answer(self) -> Answer:
        """Return the whole."""
        return Answer(self._response.status_code, self._response.headers, b"".join(self._chunks))


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
        ServiceError: there is no answer and no other try. It has no cause: httpx's exceptions hold the headers.
    """
    if isinstance(outcome, Answer):
        if 200 <= outcome.status < 300:
            return outcome.content
        error = _refusal(outcome, settings, offset)
        again = outcome.status in RETRIED
        retry_after = parse_retry_after(outcome.headers.get("retry-after"))
    else:
        error, again = _failure(outcome, settings)
        retry_after = None
    wait = attempts.wait_s(retry_after) if again else None
    if wait is None:
        if attempts.failures > 1:
            error.args = (f"{error.args[0]} (tried {attempts.failures} times)",)
        raise error
    log.info("%s; trying again in %.2f s", error, wait)
    return wait


def _refusal(answer: Answer, settings: ClientSettings, offset: int) -> ServiceError:
    """Return the error that an answer with a bad status stands for."""
    error = error_of(answer.status, answer.content, offset, settings.hide)
    if settings.route.proxy is None or error.detail is not None:
        return error
    said = f": {quoted(answer.content, settings.hide)}" if answer.content.strip() else ""
    message = (
        f"{settings.where} cannot be asked: status {answer.status} came from the proxy, not from the service{said}"
    )
    return ServiceUnavailableError(f"{message}; {_hint(settings)}", status=answer.status)


def _hint(settings: ClientSettings) -> str:
    host = urlsplit(settings.public_url).hostname
    return f"check {settings.route.variable}, or put {host} into NO_PROXY to ask the service directly"


def _failure(raised: Exception, settings: ClientSettings) -> tuple[ServiceError, bool]:
    """Return the error that an exception of httpx stands for, and whether another try may help."""
    import httpx

    where = settings.where
    what = one_line(str(raised), settings.hide)
    hint = f"; {_hint(settings)}" if settings.route.proxy is not None else ""
    if isinstance(raised, UnreachableError):
        return ServiceUnavailableError(f"{where} cannot be reached: {what}"), False
    if isinstance(raised, UnusableError):
        return BadResponseError(f"{where} gave an answer that {what}"), False
    if isinstance(raised, httpx.ConnectTimeout):
        return ServiceUnavailableError(f"{where} cannot be reached: no connection in time{hint}"), True
    if isinstance(raised, httpx.TimeoutException | TimeoutError):
        message = f"no answer from {where} within {settings.timeout_s:g} s; send fewer passages, or raise timeout_s"
        return ServiceUnavailableError(message), False
    if isinstance(raised, httpx.RemoteProtocolError):
        return BadResponseError(f"{where} gave half an answer, or none that is HTTP: {what}"), True
    if isinstance(raised, httpx.ProxyError):  # CONNECT was refused; of a status, httpx tells only the text
        status = int(what[:3]) if what[:3].isdigit() else None
        again = status is None or status in RETRIED
        return ServiceUnavailableError(f"{where} cannot be reached: the proxy said {what}{hint}", status=status), again
    again = isinstance(raised, httpx.TransportError)
    return ServiceUnavailableError(f"{where} cannot be reached: {type(raised).__name__}: {what}{hint}"), again
