"""`ClientSettings`: the address, key and limits of a client, checked once, with the route to its service."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal, NoReturn
from urllib.parse import urlsplit

import httpx

from secateur.client.proxies import Route, find_route
from secateur.llm.credentials import Redaction, basic_authorization, header_key, public_url, secrets_of
from secateur.models.errors import InputError, shown

DEFAULT_URL = "http://127.0.0.1:8080"  # where `secateur serve` listens
URL_VARIABLE = "SECATEUR_URL"
KEY_VARIABLE = "SECATEUR_API_KEY"
_LONGEST_S = 1e7  # longer socket timeouts overflow on some systems


def _checked_url(given: object) -> str:
    url = os.environ.get(URL_VARIABLE, "") if given is None or given == "" else given
    if not isinstance(url, str):
        raise InputError("url", f"{shown(url)} is not a string", f"give an address such as {DEFAULT_URL}")
    url = url.strip() or DEFAULT_URL
    try:
        parts = urlsplit(url)
        usable = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname and httpx.URL(url).host)
            and parts.port != 0
            and not (parts.query or parts.fragment)
            and url.isprintable()
            and not any(character.isspace() for character in url)
        )
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        problem = f"{shown(public_url(url))} is not an HTTP address"
        raise InputError("url", problem, f"give one such as {DEFAULT_URL}, without query and fragment")
    return url.rstrip("/")


def _check_number(name: str, value: object, kind: type, low: float, high: float) -> None:
    wanted = "an integer" if kind is int else "a number of seconds"
    if isinstance(value, bool) or not isinstance(value, kind if kind is int else int | float):
        raise InputError(name, f"{shown(value)} is not {wanted}", f"give {wanted}")
    if not low <= value <= high:  # NaN is in no range
        raise InputError(name, f"{shown(value)} is out of range", f"give {wanted} in [{low:g}, {high:g}]")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Settings of a client, which `Client` describes, the route to its service, and what removes its secrets."""

    url: str = field(default="", repr=False)
    api_key: str | None = field(default=None, repr=False)
    model: str | None = None
    timeout_s: float = 60.0
    retries: int = 3
    on_error: Literal["raise", "passthrough"] = "raise"
    max_connections: int = 16
    service_timeout_s: float | None = None
    route: Route = field(init=False)
    hide: Redaction = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        key = header_key(self.api_key) or header_key(os.environ.get(KEY_VARIABLE), KEY_VARIABLE)
        object.__setattr__(self, "url", _checked_url(self.url))
        object.__setattr__(self, "api_key", key)
        _check_number("timeout_s", self.timeout_s, float, 1e-6, _LONGEST_S)
        _check_number("retries", self.retries, int, 0, 1000)
        _check_number("max_connections", self.max_connections, int, 1, 65536)
        if self.service_timeout_s is not None:
            _check_number("service_timeout_s", self.service_timeout_s, float, 1e-3, _LONGEST_S)
        if self.on_error not in ("raise", "passthrough"):
            raise InputError("on_error", f"{shown(self.on_error)} is unknown", "use raise or passthrough")
        object.__setattr__(self, "route", find_route(httpx.URL(self.public_url)))
        secrets = [*secrets_of(self.url), *self.route.secrets, *([key] if key else [])]
        object.__setattr__(self, "hide", Redaction(secrets))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client cannot be pickled, because the pickle would hold its key: make one in each process")

    @property
    def public_url(self) -> str:
        """The address without user and password."""
        return public_url(self.url)

    def headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        own = {"User-Agent": "secateur-client", "Content-Type": "application/json"}
        own["Accept-Encoding"] = "identity"  # an uncompressed answer cannot expand in memory
        if self.api_key is not None:
            own["Authorization"] = f"Bearer {self.api_key}"
            own["X-Api-Key"] = self.api_key  # a user in the url takes the place of Authorization
        basic = basic_authorization(self.url)
        if basic is not None:
            own["Authorization"] = basic
        if self.service_timeout_s is not None:
            own["X-Request-Timeout-Ms"] = str(int(self.service_timeout_s * 1e3))
        return own
