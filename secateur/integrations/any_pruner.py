"""`AnyPruner`, which every integration prunes with: a model in this process, or a service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import PrivateAttr

from secateur.client import AsyncClient, Client
from secateur.client.settings import ClientSettings
from secateur.integrations.documents import CallerNames
from secateur.integrations.settings import MODEL_CHOICES, PruneSettings
from secateur.llm.credentials import public_url
from secateur.models.processes import PerProcess
from secateur.models.types import Passage, PruneResult

if TYPE_CHECKING:
    from secateur.models.pruner import Pruner

T = TypeVar("T")


class AnyPruner:
    """Prunes in this process or on a service, sync or async. May be shared between threads and event loops.

    The model is loaded, or the client made, on first use.

    Args:
        settings: model to load, or service to use if they have a `url`. The options are not read from them.
        pruner: loaded model to use instead.
        client: client to use instead; async calls use another one with the same settings.
    """

    def __init__(
        self,
        settings: PruneSettings,
        pruner: Pruner | None = None,
        client: Client | AsyncClient | None = None,
    ) -> None:
        self._settings = settings
        self._given = pruner
        self._http: dict[str, Any] | None = None  # arguments of the clients
        if client is not None:
            self._http = {f.name: getattr(client.settings, f.name) for f in fields(ClientSettings) if f.init}
        elif pruner is None and settings.url is not None:
            key = settings.api_key
            self._http = {name: getattr(settings, name) for name in ("url", "model", "timeout_s", "on_error")}
            self._http["api_key"] = None if key is None else key.get_secret_value()
        self._begin()

    def _begin(self) -> None:
        self._made: dict[type, Any] = {}
        self._locks = PerProcess(threading.Lock)  # a thread of the parent may hold the lock during a fork

    def _get(self, kind: type[T], make: Callable[[], T]) -> T:
        with self._locks.get():
            if kind not in self._made:
                self._made[kind] = make()
            return cast(T, self._made[kind])

    def _local(self) -> Pruner:
        from secateur.models.pruner import Pruner

        chosen = {name: getattr(self._settings, name) for name in MODEL_CHOICES}
        return self._given or self._get(Pruner, lambda: Pruner.load(self._settings.model, **chosen))

    def _client(self, kind: type[T]) -> T:
        return self._get(kind, lambda: kind(**(self._http or {})))

    @property
    def model_name(self) -> str:
        """Name of the model, for events and logs."""
        return self._given.config.name if self._given is not None else self._settings.model or "secateur"

    def warm_up(self) -> None:
        """Load the model, or make the client."""
        if self._http is None:
            self._local()
        else:
            self._client(Client)

    def __getstate__(self) -> dict[str, Any]:
        # A pickle may be stored, so it holds no key and no password: where it is loaded, the key is read from
        # SECATEUR_API_KEY. A model is pickled as the arguments that it was loaded with.
        http = self._http and {**self._http, "api_key": None, "url": public_url(self._http["url"])}
        return {"_settings": self._settings, "_given": self._given, "_http": http}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __deepcopy__(self, memo: dict[int, Any]) -> AnyPruner:
        return self  # a copy of a component shares the loaded model and the connections

    def prune(
        self, query: str, passages: Sequence[Passage], options: dict[str, Any], names: CallerNames
    ) -> PruneResult:
        """Prune with options of `Pruner.prune`.

        Args:
            query: the user's question.
            passages: the passages.
            options: arguments of `Pruner.prune`.
            names: names for errors and warnings.

        Raises:
            InputError: the query or an option is wrong.
            ServiceError: the service did not answer.
        """
        with names.errors():
            pruner = self._local() if self._http is None else self._client(Client)
            return names.result(pruner.prune(query, passages, **options))

    async def aprune(
        self, query: str, passages: Sequence[Passage], options: dict[str, Any], names: CallerNames
    ) -> PruneResult:
        """Prune without blocking the event loop: on a service by its async client, in this process in a thread."""
        if self._http is None:
            return await asyncio.to_thread(self.prune, query, passages, options, names)
        with names.errors():
            return names.result(await self._client(AsyncClient).prune(query, passages, **options))


class PruningComponent(PruneSettings):
    """Base of a framework's component that is a pydantic model.

    Args:
        pruner: loaded model to use.
        client: client of a service to use, with its settings.
        settings: fields of `PruneSettings`: options of `Pruner.prune`, a model, or a service's `url`.
    """

    _pruner: AnyPruner = PrivateAttr()

    def __init__(
        self, *, pruner: Pruner | None = None, client: Client | AsyncClient | None = None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._pruner = AnyPruner(self, pruner, client)
