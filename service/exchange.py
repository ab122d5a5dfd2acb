"""State of one HTTP exchange, a request and its response, for its log line, problem details and trace."""

from __future__ import annotations

import os
import re
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from secateur.models.types import PruneRequest, PruneResult

REQUEST_ID_HEADER = "X-Request-Id"
_VALID_ID = re.compile(rb"[\w.:/+=@-]{1,128}")


class Observer(Protocol):
    """Callable that is notified of every request that an engine has answered."""

    def __call__(self, exchange: Exchange, model: str, request: PruneRequest, result: PruneResult) -> None:
        """Record a result."""


@dataclass(slots=True)
class Exchange:
    """One HTTP exchange.

    Attributes:
        id: Request id, from the client or generated.
        observers: Notified of every request that an engine has answered; a batch contains many.
        started: `time.perf_counter` at the start.
        status: Status of the response; None before it.
        caller: Name of the key, or address, of the caller.
        failure: Kind of failure, if the status does not determine it.
        model: Model that answered; the last one of a batch.
        requests: Number of requests that an engine has answered.
        passages: Sum over these requests, like the tokens and milliseconds.
    """

    id: str
    observers: tuple[Observer, ...] = ()
    started: float = field(default_factory=time.perf_counter)
    status: int | None = None
    caller: str | None = None
    failure: str | None = None
    model: str | None = None
    requests: int = 0
    passages: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    queue_ms: float = 0.0
    tokenize_ms: float = 0.0
    inference_ms: float = 0.0

    def record(self, model: str, request: PruneRequest, result: PruneResult) -> None:
        """Add the numbers of a result."""
        self.model = model
        self.requests += 1
        self.passages += len(request.passages)
        self.input_tokens += result.usage.input_tokens
        self.output_tokens += result.usage.output_tokens
        self.queue_ms += result.timings.queue_ms
        self.tokenize_ms += result.timings.tokenize_ms
        self.inference_ms += result.timings.inference_ms

    def notify(self, model: str, request: PruneRequest, result: PruneResult) -> None:
        """Notify the observers of a result. They may read all its texts, so this takes time."""
        for observer in self.observers:
            observer(self, model, request, result)


def valid_id(given: bytes | None) -> str:
    """Return a client's request id, or a new one if the given one is unsafe in a log or a header."""
    return given.decode("ascii") if given is not None and _VALID_ID.fullmatch(given) else os.urandom(16).hex()


def exchange_of(scope: MutableMapping[str, Any]) -> Exchange:
    """Return the exchange of an ASGI scope; a new one outside of the service's middleware."""
    state: MutableMapping[str, Any] = scope.setdefault("state", {})
    if "exchange" not in state:
        state["exchange"] = Exchange(valid_id(dict(scope["headers"]).get(b"x-request-id")))
    found: Exchange = state["exchange"]
    return found
