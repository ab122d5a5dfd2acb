"""`ClientSettings`: the address, key and limits of a client, checked once, with the route to its service.

The route follows HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, which are read once.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal, NoReturn
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

from secateur.llm.credentials import Redaction, basic_authorization, header_key, public_url, secrets_of
from secateur.models.errors import InputError, shown

DEFAULT_URL = "http://127.0.0.1:8080"  # where `secateur serve` listens
KEY_VARIABLE = "SECATEUR_API_KEY"
_LONGEST_S = 1e7  # longer socket timeouts overflow on some systems
_PORTS = {"http": 80, "https": 443}
_WITH_PORT = re.compile(r"(\[.*\]|[^:]*):([0-9]{1,5})")


def _checked_url(given: object) -> str:
    url = os.environ.get("SECATEUR_URL", "") if given is None or given == "" else given
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
class Route:
    """Route of the requests to a service; without a proxy, a direct one."""

    proxy: httpx.Proxy | None = field(default=None, repr=False)
    via: str = ""  # the proxy's address and variable, to follow the service's address in a message
    problem: str = ""  # why there is no route, and what to change
    hint: str = ""  # what to check if the proxy fails, for the end of a message
    secrets: tuple[str, ...] = field(default=(), repr=False)


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


def find_route(url: httpx.URL) -> Route:
    """Return the route to a service at an address, by the current environment.

    As in curl, the scheme's own variable has precedence over ALL_PROXY and lower case over upper case, and a value
    without a scheme is an HTTP proxy.
    """
    proxies = getproxies()
    scheme = url.scheme if proxies.get(url.scheme) else "all"
    value = proxies.get(scheme, "").strip()
    if not value or covers(proxies.get("no", ""), url):
        return Route()
    if "://" not in value:
        value = f"http://{value}"
    named = [name for name in sorted(os.environ, reverse=True) if name.lower() == f"{scheme}_proxy"]
    variable = named[0] if named else "the system's proxy settings"  # lower case sorts first in reverse
    address, direct = public_url(value), f"put {url.host} into NO_PROXY to connect directly"
    proxy, problem = _proxy(value)
    if proxy is None:
        return Route(problem=f"{variable}: {shown(address)} {problem}, or {direct}")
    via = f" through the proxy {address} ({variable})"
    return Route(proxy, via, "", f"; check {variable}, or {direct}", secrets_of(value))


def _proxy(value: str) -> tuple[httpx.Proxy | None, str]:
    """Return a proxy, or what is wrong with its address."""
    try:
        proxy = httpx.Proxy(value)
        secrets_of(value)
        usable = bool(proxy.url.host) and proxy.url.port in (None, *range(1, 65536))
    except (httpx.InvalidURL, ValueError):
        usable = False
    if not usable:
        return None, "is not an HTTP or SOCKS5 proxy; give an address such as http://proxy:3128"
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        return None, "is a SOCKS proxy, which needs another package; run: pip install 'httpx[socks]'"
    return proxy, ""


def covers(no_proxy: str, url: httpx.URL) -> bool:
    """Return whether a value of NO_PROXY excludes an address from the proxy.

    Own code, because `urllib.request.proxy_bypass_environment` knows no networks, and httpx fails on those of IPv6.
    Names are not resolved. A malformed entry matches nothing.
    """
    host = url.host.lower().rstrip(".")
    for entry in re.split(r"[,\s]+", no_proxy.lower()):
        with_port = _WITH_PORT.fullmatch(entry)
        pattern, port = with_port.groups() if with_port else (entry, None)
        if port is not None and int(port) != (url.port or _PORTS[url.scheme]):
            continue
        if pattern == "*" or _matches(host, re.sub(r"[\[\]]", "", pattern)):
            return True
    return False


def _matches(host: str, pattern: str) -> bool:
    """Return whether a host is in a network, or is a name or one of its subdomains."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = pattern.lstrip("*.")
        return bool(name) and f".{host}".endswith(f".{name}")
    try:
        return address in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return False
