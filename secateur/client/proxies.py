"""The proxy for a service, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, which are read once."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.request import getproxies

import httpx

from secateur.llm.credentials import public_url, secrets_of
from secateur.models.errors import shown

_SCHEMES = ("http", "https", "socks5", "socks5h")
_PORTS = {"http": 80, "https": 443}
_HOST_PORT = re.compile(r"\[(?P<bracketed>[^\]]*)\](?::(?P<port6>\d+))?|(?P<host>[^:]*):(?P<port>\d+)")


@dataclass(frozen=True, slots=True)
class Route:
    """Route of the requests to a service.

    Attributes:
        proxy: proxy for the requests; None for a direct route.
        variable: environment variable that names the proxy.
        address: address of the proxy, without user and password.
        problem: why there is no route, and what to change; empty if there is one.
        secrets: secrets of the proxy, which must not be shown.
    """

    proxy: httpx.Proxy | None = field(default=None, repr=False)
    variable: str = ""
    address: str = ""
    problem: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def via(self) -> str:
        """Name of the proxy, to follow the service's address in a message; empty without one."""
        return f" through the proxy {self.address} ({self.variable})" if self.proxy is not None else ""


def find_route(url: httpx.URL) -> Route:
    """Return the route to a service, by the current environment.

    As in curl, the scheme's own variable has precedence over ALL_PROXY and lower case over upper case, and a value
    without a scheme is an HTTP proxy.

    Args:
        url: address of the service.
    """
    proxies = getproxies()
    scheme = url.scheme if proxies.get(url.scheme) else "all"
    value = proxies.get(scheme, "").strip()
    if not value or covers(proxies.get("no", ""), url):
        return Route()
    if "://" not in value:
        value = f"http://{value}"
    variable = _variable(f"{scheme}_proxy")
    proxy, problem = _proxy(value)
    if problem:
        problem = f"{variable}: {problem}, or put {url.host} into NO_PROXY to connect directly"
    return Route(proxy, variable, public_url(value), problem, secrets_of(value) if proxy is not None else ())


def _variable(name: str) -> str:
    found = [variable for variable in sorted(os.environ, reverse=True) if variable.lower() == name]
    return found[0] if found else "the system's proxy settings"  # lower case sorts first in reverse


def _proxy(value: str) -> tuple[httpx.Proxy | None, str]:
    """Return a proxy, or what is wrong with the address."""
    public = shown(public_url(value))
    wrong = f"{public} is not the address of a proxy; give one such as http://proxy:3128"
    try:
        url = httpx.URL(value)
        if url.scheme not in _SCHEMES:
            return None, f"{public} is not a proxy of a known kind; use {', '.join(_SCHEMES)}"
        if not url.host or (url.port is not None and url.port not in range(1, 65536)):
            return None, wrong
        proxy = httpx.Proxy(url)
        secrets_of(value)
    except (httpx.InvalidURL, ValueError):
        return None, wrong
    if url.scheme.startswith("socks") and find_spec("socksio") is None:
        return None, f"{public} is a SOCKS proxy, which needs another package; run: pip install 'httpx[socks]'"
    return proxy, ""


def covers(no_proxy: str, url: httpx.URL) -> bool:
    """Return whether NO_PROXY excludes an address from the proxy.

    Its entries are separated by commas or white space: ``*`` for all; a name, with or without a leading dot or ``*.``,
    which includes its subdomains; an IP address; a network such as ``fd07::/64``. Brackets around an IPv6 address, a
    port and a scheme are allowed. Names are not resolved. A malformed entry matches nothing.

    Args:
        no_proxy: value of NO_PROXY.
        url: address of the service.
    """
    return any(_matches(entry.strip().lower(), url) for entry in re.split(r"[,\s]+", no_proxy) if entry.strip())


def _matches(entry: str, url: httpx.URL) -> bool:
    scheme, separator, rest = entry.rpartition("://")
    if separator and scheme not in ("all", url.scheme):
        return False
    pattern = rest.rstrip("/")
    if parts := _HOST_PORT.fullmatch(pattern):
        port = parts["port"] or parts["port6"]
        if port is not None and int(port[:9]) != (url.port or _PORTS[url.scheme]):
            return False
        pattern = parts["host"] or parts["bracketed"] or ""
    if pattern == "*":
        return True
    host = url.raw_host.decode("ascii").lower().strip("[]").rstrip(".")
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(re.sub(r"[\[\]]|%[^/]*", "", pattern), strict=False)
        except ValueError:
            return False
    name = _ascii(pattern.removeprefix("*").strip("."))
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _ascii(name: str) -> str:
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name
