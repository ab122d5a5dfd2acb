"""The service as a library: `Client` and `AsyncClient` prune like a `Pruner`, on another machine."""

from __future__ import annotations

from secateur.models.errors import MissingExtraError

try:
    import httpx  # noqa: F401
except ImportError as error:
    raise MissingExtraError("httpx", "client") from error

from secateur.client.answers import Health
from secateur.client.clients import AsyncClient, Client
from secateur.client.errors import (
    BadResponseError,
    RequestRefusedError,
    ServiceError,
    ServiceUnavailableError,
)
from secateur.client.wire import passed_through

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
