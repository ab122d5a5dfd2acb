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

_PORTS = {"http": 80, "https": 443}
_WITH_PORT = re.compile(r"(\[.*\]|[^:]*):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Route:
    """Route of the requests to a service; without a proxy, a direct one."""

    proxy: httpx.Proxy | None = field(default=None, repr=False)
    variable: str = ""  # the environment variable that names the proxy
    address: str = ""  # of the proxy, without user and password
    problem: str = ""  # why there is no route, and what to change
    hint: str = ""  # what to check if the proxy fails, for the end of a message
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def via(self) -> str:
        """Name of the proxy, to follow the service's address in a message; empty without one."""
        return f" through the proxy {self.address} ({self.variable})" if self.proxy is not None else ""


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
        return Route(None, variable, address, f"{variable}: {shown(address)} {problem}, or {direct}")
    return Route(proxy, variable, address, "", f"; check {variable}, or {direct}", secrets_of(value))


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
