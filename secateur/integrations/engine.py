"""What every integration prunes with: a model in this process, or a service, made when it is first needed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from secateur.integrations.settings import PruneSettings
from secateur.llm.credentials import public_url
from secateur.models.processes import PerProcess
from secateur.models.types import Passage, PruneResult

if TYPE_CHECKING:
    from secateur.client import AsyncClient, Client
    from secateur.models.pruner import Pruner


class Engine:
    """Prunes here or on a service, sync or async. Safe to share between threads and event loops.

    Args:
        settings: who prunes; a `url` makes it ask a service. Its options are the caller's to pass.
        pruner: a loaded model to use, or
        client: a client to use; async calls then use a client of their own with the same settings.
    """

    def __init__(
        self, settings: PruneSettings, pruner: Pruner | None = None, client: Client | AsyncClient | None = None
    ) -> None:
        self._settings = settings
        self._pruner = pruner
        self._http: dict[str, Any] | None = self._http_settings(client)
        self._begin()

    def _begin(self) -> None:
        self._client: Client | None = None
        self._async_client: AsyncClient | None = None
        self._locks = PerProcess(threading.Lock)

    def _http_settings(self, client: Client | AsyncClient | None) -> dict[str, Any] | None:
        """Return arguments of `Client`, or None where a model in this process prunes."""
        settings = self._settings
        if client is not None:
            given = client.settings
            names = (
                "url",
                "api_key",
                "model",
                "timeout_s",
                "retry",
                "on_error",
                "max_connections",
                "service_timeout_s",
            )
            return {name: getattr(given, name) for name in names}
        if self._pruner is not None or settings.url is None:
            return None
        key = settings.api_key
        return {
            "url": settings.url,
            "api_key": key.get_secret_value() if key is not None else None,
            "model": settings.model,
            "timeout_s": settings.timeout_s,
            "on_error": settings.on_error,
        }

    @property
    def _lock(self) -> threading.Lock:
        return self._locks.get()  # a forked child's own: a thread of the parent may have held the parent's

    @property
    def model_name(self) -> str:
        """What prunes, for events and logs."""
        if self._pruner is not None:
            return self._pruner.config.name
        return self._settings.model or "secateur"

    def warm_up(self) -> None:
        """Load the model, or make the client."""
        if self._http is None:
            self._local()
        else:
            self._remote()

    def __getstate__(self) -> dict[str, Any]:
        # Without locks and connections. A model is pickled as the arguments that it was loaded with. A pickle may be
        # stored, so it holds no key and no password: the key is read from SECATEUR_API_KEY where the pickle is loaded.
        http = self._http and {**self._http, "api_key": None, "url": public_url(self._http["url"])}
        return {"_settings": self._settings, "_pruner": self._pruner, "_http": http}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __deepcopy__(self, memo: dict[int, Any]) -> Engine:
        return self  # a copy of a component shares the loaded model and the connections

    def prune(self, query: str, passages: Sequence[Passage], **options: Any) -> PruneResult:
        """Prune with options of `Pruner.prune`."""
        if self._http is None:
            return self._local().prune(query, passages, **options)
        return self._remote().prune(query, passages, **options)

    async def aprune(self, query: str, passages: Sequence[Passage], **options: Any) -> PruneResult:
        """Prune without blocking the event loop: on a service natively, with a model here in a thread."""
        if self._http is None:
            return await asyncio.to_thread(self.prune, query, passages, **options)
        return await self._async_remote().prune(query, passages, **options)

    def _local(self) -> Pruner:
        with self._lock:
            if self._pruner is None:
                from secateur.models.pruner import Pruner

                settings = self._settings
                self._pruner = Pruner.load(
                    settings.model, backend=settings.backend, device=settings.device, threads=settings.threads
                )
            return self._pruner

    def _remote(self) -> Client:
        from secateur.client import Client

        with self._lock:
            if self._client is None:
                self._client = Client(**(self._http or {}))
            return self._client

    def _async_remote(self) -> AsyncClient:
        from secateur.client import AsyncClient

        with self._lock:
            if self._async_client is None:
                self._async_client = AsyncClient(**(self._http or {}))
            return self._async_client
