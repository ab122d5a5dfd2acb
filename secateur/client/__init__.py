"""The service as a library: `Client` and `AsyncClient` prune like a `Pruner`, on another machine."""

from __future__ import annotations

from secateur.client.clients import AsyncClient, Client, Health
from secateur.client.errors import (
    BadResponseError,
    RequestRefusedError,
    ServiceError,
    ServiceUnavailableError,
)
from secateur.client.passthrough import passed_through

__all__ = [
    "AsyncClient",
    "BadResponseError",
    "Client",
    "Health",
    "RequestRefusedError",
    "ServiceError",
    "ServiceUnavailableError",
    "passed_through",
]
