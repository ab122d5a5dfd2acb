"""Who may ask, and how often: API keys and the rate limit."""

from __future__ import annotations

import math
import time

from fastapi import Request
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from secateur.service.exchange import exchange_of
from secateur.service.keys import Keys, given_keys
from secateur.service.problems import problem
from secateur.service.settings import Settings

_OPEN = {"/", "/docs", "/openapi.json", "/favicon.ico", "/health"}
_OPEN_FOLDERS = ("/health/", "/playground/", "/docs/")
_METRICS = "/metrics"


def is_open(path: str, settings: Settings) -> bool:
    """Return whether everyone may ask for a path."""
    return path in _OPEN or path.startswith(_OPEN_FOLDERS) or (path == _METRICS and not settings.metrics_need_key)


class Callers:
    """ASGI middleware; see the module. Health, documentation and playground are open to everyone.

    Args:
        app: what is guarded.
        keys: that are valid; without any, everyone may ask.
        settings: of the service.
    """

    def __init__(self, app: ASGIApp, keys: Keys, settings: Settings) -> None:
        self._app = app
        self._keys = keys
        self._settings = settings
        self._rate = parse(settings.rate_limit) if settings.rate_limit else None
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on."""
        if scope["type"] != "http" or is_open(scope["path"], self._settings):
            await self._app(scope, receive, send)
            return
        exchange = exchange_of(request := Request(scope))
        client = scope.get("client")
        exchange.caller = client[0] if client else None
        if self._keys.required:
            given = given_keys(dict(scope["headers"]))
            name = next((name for key in given if (name := self._keys.name_of(key))), None)
            if name is None:
                said = "the API key is not valid" if given else "an API key is missing"
                refused = problem(
                    request, 401, f"{said}; send Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"}
                )
                await refused(scope, receive, send)
                return
            exchange.caller = f"key {name}"
        if self._rate and scope["path"] != _METRICS and not self._limiter.hit(self._rate, exchange.caller or ""):
            exchange.failure = "rate_limited"
            reset = self._limiter.get_window_stats(self._rate, exchange.caller or "").reset_time
            wait = max(1, math.ceil(reset - time.time()))
            detail = f"more than {self._rate.amount} requests in {_window(self._rate.get_expiry())}; wait {wait} s"
            await problem(request, 429, detail, {"Retry-After": str(wait)})(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _window(seconds: int) -> str:
    return {1: "a second", 60: "a minute", 3600: "an hour", 86_400: "a day"}.get(seconds, f"{seconds} s")
