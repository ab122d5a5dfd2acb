"""State of one HTTP exchange, a request and its response, for its log line, problem details and trace."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from secateur.models.types import PruneRequest, PruneResult

REQUEST_ID_HEADER = "X-Request-Id"
_VALID_ID = re.compile(rb"[\w.:/+=@-]{1,128}")

Observer: TypeAlias = "Callable[[Exchange, str, PruneRequest, PruneResult], None]"
"""Is called with every request that an engine has answered, and the name of the model."""


@dataclass(slots=True)
class Exchange:
    """One HTTP exchange."""

    id: str  # from the client or generated
    observers: tuple[Observer, ...] = ()
    started: float = field(default_factory=time.perf_counter)
    status: int | None = None  # of the response; None before it
    caller: str | None = None  # name of the key, or address
    failure: str | None = None  # kind of failure, if the status does not determine it
    model: str | None = None  # that answered; a batch may have several, of which this is the last
    sums: dict[str, float] = field(default_factory=dict)  # of all answers, by their names in the log

    def record(self, model: str, request: PruneRequest, result: PruneResult) -> None:
        """Add the numbers of a result."""
        self.model = model
        numbers: dict[str, float] = {
            "requests": 1,
            "passages": len(request.passages),
            "input_tokens": result.usage.input_tokens,
            "output_tokens": result.usage.output_tokens,
            "queue_ms": result.timings.queue_ms,
            "tokenize_ms": result.timings.tokenize_ms,
            "inference_ms": result.timings.inference_ms,
        }
        self.sums = {name: self.sums.get(name, 0) + number for name, number in numbers.items()}

    def notify(self, model: str, request: PruneRequest, result: PruneResult) -> None:
        """Call the observers. They may read all texts of a result, so this takes time."""
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
