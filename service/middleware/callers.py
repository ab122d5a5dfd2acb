"""Who may ask, and how often: API keys, the rate limit, and a limit on wrong keys."""

from __future__ import annotations

from collections import OrderedDict

from fastapi import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from secateur.service.exchange import exchange_of
from secateur.service.keys import Keys, given_keys
from secateur.service.middleware.rates import Rate, household
from secateur.service.problems import problem
from secateur.service.settings import Settings

_OPEN = {"/", "/docs", "/openapi.json", "/favicon.ico", "/health"}
_OPEN_FOLDERS = ("/health/", "/playground/", "/docs/")
_METRICS = "/metrics"
_WRONG_KEYS = "30/minute"
_MAX_ACQUAINTED = 10_000


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
        self._rate = Rate(settings.rate_limit) if settings.rate_limit else None
        self._guesses = _Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on."""
        if scope["type"] != "http" or is_open(scope["path"], self._settings):
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        address: str = client[0] if client else ""
        exchange_of(request := Request(scope)).caller = address or None
        refused = self._without_key(request, address) if self._keys.required else None
        refused = refused or self._too_often(request, address)
        await (refused or self._app)(scope, receive, send)

    def _without_key(self, request: Request, address: str) -> Response | None:
        """Return the refusal of a request that has no valid key; take note of who asks."""
        given = given_keys(dict(request.scope["headers"]))
        name = next((name for key in given if (name := self._keys.name_of(key))), None)
        if given and not self._guesses.may_try(household(address), name):
            exchange_of(request).failure = "rate_limited"
            return _wait(request, "wrong API keys", self._guesses.wrong, household(address))
        if name is None:
            said = "the API key is not valid" if given else "an API key is missing"
            return problem(request, 401, f"{said}; send Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"})
        exchange_of(request).caller = f"key {name}"
        return None

    def _too_often(self, request: Request, address: str) -> Response | None:
        """Return the refusal of one request too many."""
        if self._rate is None or request.scope["path"] == _METRICS:
            return None
        who = exchange_of(request).caller if self._keys.required else household(address)
        if self._rate.hit(who or ""):
            return None
        exchange_of(request).failure = "rate_limited"
        return _wait(request, "requests", self._rate, who or "")


def _wait(request: Request, what: str, rate: Rate, who: str) -> Response:
    seconds = rate.wait_s(who)
    return problem(request, 429, f"{rate.exceeded(what)}; wait {seconds} s", {"Retry-After": str(seconds)})


class _Guesses:
    """Who has given wrong keys so often that none of theirs is tried any more.

    A key that was right from the same address before goes on to be right, so that nobody is locked out by whoever
    shares the address, as all do behind a proxy that is not trusted.

    Attributes:
        wrong: the rate of wrong keys.
    """

    def __init__(self) -> None:
        self.wrong = Rate(_WRONG_KEYS)
        self._acquainted: OrderedDict[tuple[str, str], None] = OrderedDict()

    def may_try(self, address: str, name: str | None) -> bool:
        """Return whether a key of this name, None for a wrong one, is tried for an address; take note of it."""
        if name is None:
            return self.wrong.hit(address)
        if (address, name) not in self._acquainted and not self.wrong.test(address):
            return False
        self._acquainted[address, name] = None
        self._acquainted.move_to_end((address, name))
        if len(self._acquainted) > _MAX_ACQUAINTED:
            self._acquainted.popitem(last=False)
        return True
