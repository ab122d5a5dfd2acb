"""The outermost layer: a request's id, its log line, its metrics, and the headers that every response has."""

from __future__ import annotations

import logging
import time

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secateur.service.exchange import Exchange, Observer, request_id, sane_id
from secateur.service.logs import log_event
from secateur.service.metrics import Metrics
from secateur.service.middleware.paths import method_of
from secateur.service.problems import problem

log = logging.getLogger("secateur.access")

_UNMATCHED = "unmatched"  # one label for all paths that there are not, whose number has no bound
PROBES = ("/health", "/health/live", "/health/ready", "/metrics")  # asked every few seconds, so logged on debug only
_GONE = 499

_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_NO_PAGE = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")

_KINDS = {
    400: "unreadable",
    401: "unauthorized",
    404: "not_found",
    405: "wrong_method",
    408: "slow_client",
    413: "too_large",
    415: "wrong_type",
    422: "invalid",
    429: "overloaded",
    499: "client_gone",
    503: "engine_dead",
    504: "late",
    507: "no_room",
}


def failure_kind(status: int) -> str | None:
    """Return the kind of failure that a status stands for; None for none."""
    return None if status < 400 else _KINDS.get(status, "error")


def _with_common(headers: list[tuple[bytes, bytes]], id: bytes) -> list[tuple[bytes, bytes]]:
    """Add the headers that all responses have, unless a route has set its own."""
    given = dict(headers)
    added = [item for item in _SECURITY if item[0] not in given]
    if _NO_PAGE[0] not in given and not given.get(b"content-type", b"").startswith(b"text/html"):
        added.append(_NO_PAGE)
    return [*headers, (b"x-request-id", id), *added]


def route_of(scope: Scope) -> str:
    """Return the template of the path of the route that answered."""
    return getattr(scope.get("route"), "path", None) or _UNMATCHED


class Observe:
    """ASGI middleware; see the module.

    Args:
        app: what is observed.
        metrics: told of every response.
        observers: told of every request that an engine has answered.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, observers: tuple[Observer, ...] = ()) -> None:
        self._app = app
        self._metrics = metrics
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and take note."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(sane_id(dict(scope["headers"]).get(b"x-request-id")), self._observers)
        scope.setdefault("state", {})["exchange"] = exchange
        token = request_id.set(exchange.id)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = _with_common(list(message.get("headers", ())), exchange.id.encode())
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            log.exception("unexpected error")
            if exchange.status is not None:
                exchange.failure = "error"
                raise  # too late for another answer; the server closes the connection
            detail = "an unexpected error; the server's log has the details"
            await problem(Request(scope), 500, detail)(scope, receive, sending)
        finally:
            self._note(scope, exchange)
            request_id.reset(token)

    def _note(self, scope: Scope, exchange: Exchange) -> None:
        status = exchange.status or _GONE
        route = route_of(scope)
        failure = exchange.failure or failure_kind(status)
        self._metrics.responded(route, status)
        if failure:
            self._metrics.failed(failure)
        level = logging.DEBUG if route in PROBES and status < 400 else logging.INFO
        fields = {
            "method": method_of(scope),
            "route": route,
            "status": status,
            "duration_ms": round((time.perf_counter() - exchange.started) * 1e3, 2),
            "caller": exchange.caller,
            "failure": failure,
        }
        if exchange.requests:
            fields |= {
                "model": exchange.model,
                "requests": exchange.requests,
                "passages": exchange.passages,
                "input_tokens": exchange.input_tokens,
                "output_tokens": exchange.output_tokens,
                "queue_ms": round(exchange.queue_ms, 2),
                "tokenize_ms": round(exchange.tokenize_ms, 2),
                "inference_ms": round(exchange.inference_ms, 2),
            }
        log_event(log, level, "request", fields)
