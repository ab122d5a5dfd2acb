"""API keys and rate limits."""

from __future__ import annotations

import math
import time
from ipaddress import IPv6Address, ip_address, ip_network

from cachetools import LRUCache
from fastapi import Request
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from secateur.service.credentials import Keys, given_keys
from secateur.service.errors import OverloadedError
from secateur.service.exchange import exchange_of
from secateur.service.middleware import HTTPMiddleware
from secateur.service.problems import error_response
from secateur.service.settings import Settings

_OPEN = {"/", "/docs", "/openapi.json", "/favicon.ico", "/health"}
_OPEN_FOLDERS = ("/health/", "/playground/", "/docs/")
_METRICS = "/metrics"
_LIMITED = "rate_limited"  # kind of failure
_WRONG_KEYS = "30/minute"
_MAX_KNOWN = 10_000
# A client with so many addresses is not stopped by a rate limit, but must not fill the memory.
_MAX_COUNTERS = 10_000


def is_open(path: str, settings: Settings) -> bool:
    """Return whether a path needs no key."""
    return path in _OPEN or path.startswith(_OPEN_FOLDERS) or (path == _METRICS and not settings.metrics_need_key)


class RateLimiter:
    """Limits how often each caller does something, over a sliding window and in bounded memory."""

    def __init__(self, rate: str) -> None:
        self._rate = parse(rate)
        self._storage = MemoryStorage()
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    def hit(self, caller: str) -> bool:
        """Count one more, unless that exceeds the rate; return whether it was counted."""
        if len(self._storage.storage) >= _MAX_COUNTERS:
            self._storage.reset()
        return self._limiter.hit(self._rate, caller)

    def test(self, caller: str) -> bool:
        """Return whether one more would be counted."""
        return self._limiter.test(self._rate, caller)

    def exceeded(self, what: str, caller: str) -> OverloadedError:
        """Return the error for a caller over the limit: "more than 600 requests per minute"."""
        unit, count = self._rate.GRANULARITY.name, self._rate.multiples
        wait_s = self._limiter.get_window_stats(self._rate, caller).reset_time - time.time()
        period = unit if count == 1 else f"{count} {unit}s"
        return OverloadedError(f"more than {self._rate.amount} {what} per {period}", max(1, math.ceil(wait_s)))


def client_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 network that an IPv6 client usually has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((int(parsed) >> 64 << 64, 64)))
    return address


class WrongKeys:
    """Limits the wrong keys of each client.

    A key that was valid from the same client before remains valid, so that nobody is locked out by others with the
    same address, which all clients behind an untrusted proxy share.
    """

    def __init__(self) -> None:
        self.limiter = RateLimiter(_WRONG_KEYS)
        self.known: LRUCache[tuple[str, str], None] = LRUCache(_MAX_KNOWN)

    def may_try(self, client: str, name: str | None) -> bool:
        """Return whether a client may try a key with this name, None for a wrong key, and record it."""
        if name is None:
            return self.limiter.hit(client)
        if (client, name) not in self.known and not self.limiter.test(client):
            return False
        self.known[client, name] = None
        return True


class AuthMiddleware(HTTPMiddleware):
    """Checks API keys, if there are any, and the rate limit. Health, documentation and playground are open."""

    def __init__(self, app: ASGIApp, keys: Keys, settings: Settings) -> None:
        super().__init__(app)
        self._keys = keys
        self._settings = settings
        self._limiter = RateLimiter(settings.rate_limit) if settings.rate_limit else None
        self._wrong_keys = WrongKeys()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request or pass it on."""
        if not is_open(scope["path"], self._settings):
            try:
                self._check(scope)
            except (HTTPException, OverloadedError) as error:
                await error_response(Request(scope), error)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        """Refuse a request without a valid key or over the rate limit; record the caller."""
        exchange = exchange_of(scope)
        exchange.caller = scope["client"][0] if scope.get("client") else None
        client = caller = client_of(exchange.caller or "")
        if self._keys.required:
            given = given_keys(dict(scope["headers"]))
            name = next((name for key in given if (name := self._keys.name_of(key))), None)
            if given and not self._wrong_keys.may_try(client, name):
                exchange.failure = _LIMITED
                raise self._wrong_keys.limiter.exceeded("wrong API keys", client)
            if name is None:
                detail = f"{'invalid' if given else 'missing'} API key; send Authorization: Bearer KEY"
                raise HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})
            exchange.caller = caller = f"key {name}"
        if self._limiter is not None and scope["path"] != _METRICS and not self._limiter.hit(caller):
            exchange.failure = _LIMITED
            raise self._limiter.exceeded("requests", caller)
