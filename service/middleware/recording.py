"""The id, log line and metrics of each request, and the headers of every response."""

from __future__ import annotations

import logging
import time

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from secateur.service.exchange import Exchange, Observer, valid_id
from secateur.service.metrics import Metrics
from secateur.service.middleware import HTTPMiddleware
from secateur.service.problems import KINDS, error_response

log = logging.getLogger("secateur.access")

_UNMATCHED = "unmatched"  # one label for all unknown paths, whose number is unlimited
PROBES = ("/health", "/health/live", "/health/ready", "/metrics")  # frequent, so only logged on debug
_GONE = 499

_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
_NO_CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'"


def _add_headers(message: Message, id: str) -> None:
    """Add the headers of all responses, unless the route has set its own."""
    headers = MutableHeaders(scope=message)
    headers["x-request-id"] = id
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    if not headers.get("content-type", "").startswith("text/html"):
        headers.setdefault("content-security-policy", _NO_CONTENT_POLICY)


def route_of(scope: Scope) -> str:
    """Return the path template of the route that answered."""
    return getattr(scope.get("route"), "path", None) or _UNMATCHED


class RecordingMiddleware(HTTPMiddleware):
    """Creates the `Exchange` of each request, with its observers, and logs and counts it."""

    def __init__(self, app: ASGIApp, metrics: Metrics, observers: tuple[Observer, ...] = ()) -> None:
        super().__init__(app)
        self._metrics = metrics
        self._observers = observers

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and record it."""
        exchange = Exchange(valid_id(dict(scope["headers"]).get(b"x-request-id")), self._observers)
        scope.setdefault("state", {})["exchange"] = exchange

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                _add_headers(message, exchange.id)
            await send(message)

        with bound_contextvars(request_id=exchange.id):
            try:
                await self.app(scope, receive, send_with_headers)
            except Exception as error:
                if exchange.status is not None:
                    log.exception("unexpected error")
                    exchange.failure = "error"
                    raise  # too late for another answer; the server closes the connection
                await error_response(Request(scope), error)(scope, receive, send_with_headers)
            finally:
                self._record(scope, exchange)

    def _record(self, scope: Scope, exchange: Exchange) -> None:
        status = exchange.status or _GONE
        route = route_of(scope)
        failure = exchange.failure or (None if status < 400 else KINDS.get(status, "error"))
        self._metrics.requests.labels(route, str(status)).inc()
        if failure:
            self._metrics.failures.labels(failure).inc()
        fields = {
            "method": scope["state"]["method"],
            "route": route,
            "status": status,
            "duration_ms": round((time.perf_counter() - exchange.started) * 1e3, 2),
            "caller": exchange.caller,
            "failure": failure,
            "model": exchange.model,
            **{name: round(number, 2) for name, number in exchange.sums.items()},
        }
        level = logging.DEBUG if route in PROBES and status < 400 else logging.INFO
        log.log(level, "request", extra={name: value for name, value in fields.items() if value is not None})
