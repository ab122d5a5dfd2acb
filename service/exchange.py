"""What is known of one HTTP request while it is answered: for its log line, its problem details and its trace."""

from __future__ import annotations

import os
import re
import time
from collections.abc import MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi import Request

from secateur.models.types import PruneRequest, PruneResult, Timings

REQUEST_ID_HEADER = "X-Request-Id"
_SANE_ID = re.compile(rb"[\w.:/+=@-]{1,128}")

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class Observer(Protocol):
    """Is told of every request that an engine has answered."""

    def __call__(self, exchange: Exchange, model: str, request: PruneRequest, result: PruneResult) -> None:
        """Take note."""


@dataclass(slots=True)
class Exchange:
    """One HTTP request.

    Attributes:
        id: given by the client, or made.
        observers: told of every request that an engine has answered for it; a batch has many.
        started: `time.perf_counter` at its begin.
        status: of the response; None before it.
        caller: name of the key, or the address, that asks.
        failure: kind of the failure, where the status does not tell.
        model: that answered; the last one of a batch.
        requests: that an engine has answered.
        passages: of these, in sum; likewise the tokens and milliseconds.
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

    def answered(self, model: str, request: PruneRequest, result: PruneResult) -> None:
        """Take note of what an engine has answered. The observers are told by `tell`."""
        timings: Timings = result.timings
        self.model = model
        self.requests += 1
        self.passages += len(request.passages)
        self.input_tokens += result.usage.input_tokens
        self.output_tokens += result.usage.output_tokens
        self.queue_ms += timings.queue_ms
        self.tokenize_ms += timings.tokenize_ms
        self.inference_ms += timings.inference_ms

    def tell(self, model: str, request: PruneRequest, result: PruneResult) -> None:
        """Tell the observers of what an engine has answered; they may walk all its texts, so this takes time."""
        for observer in self.observers:
            observer(self, model, request, result)


def sane_id(given: bytes | None) -> str:
    """Return the id that a client gave, or a new one if that could not stand in a log or a header."""
    return given.decode("ascii") if given is not None and _SANE_ID.fullmatch(given) else os.urandom(16).hex()


def exchange_of(request: Request) -> Exchange:
    """Return what is known of a request; something without effect outside of the service's middleware."""
    return exchange_of_scope(request.scope)


def exchange_of_scope(scope: MutableMapping[str, Any]) -> Exchange:
    """Return the same by the ASGI scope."""
    state: MutableMapping[str, Any] = scope.setdefault("state", {})
    found: Exchange = state.setdefault("exchange", Exchange(""))
    return found
