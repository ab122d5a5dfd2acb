"""`Client` and `AsyncClient`: `Pruner.prune` on the REST service, with the same arguments, results and errors."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar, cast

from secateur.client.answers import Health, read_health, read_models, read_result
from secateur.client.connections import AsyncConnections, SyncConnections
from secateur.client.errors import BadResponseError, ServiceUnavailableError
from secateur.client.exchange import Exchange, HttpRequest, HttpResponse, error_of, send, send_once
from secateur.client.passthrough import passthrough
from secateur.client.settings import ClientSettings
from secateur.client.wire import answer_limit, body, join, split
from secateur.models.errors import InputError
from secateur.models.options import PruneOptions, with_options
from secateur.models.requests import CheckedRequest, PassageLike, check_request
from secateur.models.types import PruneRequest, PruneResult

log = logging.getLogger(__name__)

T = TypeVar("T")

_CONCURRENT = 8  # requests of `prune_many` at the same time, as many as the service's batch route works on


class _Base:
    """What both clients share: their settings and their exchanges with the service."""

    _connect: type[SyncConnections] | type[AsyncConnections]
    _connections: SyncConnections | AsyncConnections

    def __init__(self, url: str | None = None, **settings: Any) -> None:
        self.settings = ClientSettings("" if url is None else url, **settings)
        self._connections = self._connect(self.settings)

    # The names and defaults of the settings, for `help` and editors.
    __init__.__signature__ = inspect.signature(ClientSettings.__init__)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings.public_url!r})"

    def _pruning(self, checked: CheckedRequest) -> Exchange[PruneResult]:
        request, settings = checked.request, self.settings
        results = []
        try:
            for part in split(request):
                content = body(request, part, settings.model)
                http = HttpRequest("POST", "/v1/prune", content, answer_limit(request, part, content))
                answer = yield from send(http, settings, part.offset)
                results.append(read_result(answer.content, request, part, settings.hide, settings.route.via))
        except (ServiceUnavailableError, BadResponseError) as error:  # other errors are for the caller to fix
            if settings.on_error == "raise":
                raise
            log.warning("passages are passed through unpruned: %s", error)
            return passthrough(request, error)
        return join(results, request, checked.warnings)

    def _models(self) -> Exchange[tuple[str, ...]]:
        answer = yield from send(HttpRequest("GET", "/v1/models"), self.settings)
        return read_models(answer.content, self.settings.hide, self.settings.route.via)

    def _health(self) -> Exchange[Health]:
        settings = self.settings
        deadline = time.monotonic() + settings.timeout_s
        outcome = yield from send_once(HttpRequest("GET", "/health/ready", deadline=deadline), settings)
        if not isinstance(outcome, HttpResponse):
            raise error_of(outcome, settings, 0)[0]
        return read_health(outcome.status, outcome.content, settings.hide, settings.route.via)


def _checked(request: PruneRequest) -> CheckedRequest:
    return check_request(request.query, request.passages, request.options)


def _all_checked(requests: Sequence[PruneRequest]) -> list[CheckedRequest]:
    checked = []
    for index, request in enumerate(requests):
        try:
            checked.append(_checked(request))
        except InputError as error:
            raise InputError(f"requests[{index}].{error.field}", error.problem, error.hint) from error
    return checked


class Client(_Base):
    """Prunes on a service. Keeps its connections, and may be shared between threads; a context manager.

    A request of more than 1,000 passages or 500,000 characters is sent in parts, one after another, each with the
    whole timeout. With `max_tokens` or `top_n`, which compare all passages, it is sent whole, and the service refuses
    it if it is too large.

    Args:
        url: address of the service; default: SECATEUR_URL in the environment, or http://127.0.0.1:8080.
        api_key: API key; default: SECATEUR_API_KEY in the environment, if set. White space around it is removed, and
            an empty key counts as not given. No error, warning or log shows it.
        model: name of a served model; default: the service's default model.
        timeout_s: seconds for one HTTP request with all its tries and the waits between them, until the last byte.
        retries: number of further tries after a status 429, 502 or 503 or a lost connection. A request may be sent
            twice, because pruning changes nothing at the service.
        on_error: `raise`, or `passthrough`: if the service is down, too slow, too busy or answers nonsense, passages
            are returned whole, in their order, with a score of 0, a warning in the result and one in the log. An error
            that the caller has to fix (a wrong argument, a wrong key) is raised in any case.
        max_connections: largest number of open connections.
        service_timeout_s: seconds that the service may take for a request; default: its own, 30 s unless changed.

    Raises:
        InputError: a setting is wrong.
    """

    _connect = SyncConnections
    _connections: SyncConnections

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections of this process; a later call opens new ones."""
        self._connections.close()

    @with_options
    def prune(self, query: str, passages: Sequence[PassageLike], **options: Any) -> PruneResult:
        """Prune and rerank passages for a query; arguments and result are those of `Pruner.prune`.

        Ids and metadata are not sent: the result has the caller's own objects.

        Raises:
            InputError: an argument is wrong; the message names it.
            ServiceError: the service did not answer, or gave a bad answer.
        """
        return self._run(self._pruning(check_request(query, passages, PruneOptions(**options))))

    def prune_request(self, request: PruneRequest) -> PruneResult:
        """Prune one `PruneRequest`; see `prune`."""
        return self._run(self._pruning(_checked(request)))

    def prune_many(self, requests: Sequence[PruneRequest]) -> list[PruneResult]:
        """Prune for several queries, up to eight at the same time; results have the order of the requests.

        Raises:
            InputError: a request is wrong; the message names it and the field. Nothing was sent.
            ServiceError: see `prune`.
        """
        checked = _all_checked(requests)
        with ThreadPoolExecutor(_CONCURRENT) as pool:
            return list(pool.map(lambda one: self._run(self._pruning(one)), checked))

    def models(self) -> tuple[str, ...]:
        """Return the names of the served models, the default one first."""
        return self._run(self._models())

    def health(self) -> Health:
        """Ask, once, whether the service is ready.

        Raises:
            ServiceError: the service cannot be reached.
        """
        return self._run(self._health())

    def _run(self, exchange: Exchange[T]) -> T:
        outcome: Any = None
        while True:
            try:
                request = exchange.send(outcome)
            except StopIteration as end:
                return cast(T, end.value)
            outcome = self._connections.send(request)


class AsyncClient(_Base):
    """`Client` for asyncio, with the same arguments; an async context manager.

    May be used in several event loops, one after another or at the same time in several threads. Each loop has its own
    connections, which are closed when `asyncio.run` ends the loop.
    """

    _connect = AsyncConnections
    _connections: AsyncConnections

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections of the running event loop; a later call opens new ones."""
        await self._connections.close()

    @with_options
    async def prune(self, query: str, passages: Sequence[PassageLike], **options: Any) -> PruneResult:
        """Prune and rerank passages for a query; see `Client.prune`."""
        return await self._run(self._pruning(check_request(query, passages, PruneOptions(**options))))

    async def prune_request(self, request: PruneRequest) -> PruneResult:
        """Prune one `PruneRequest`; see `Client.prune`."""
        return await self._run(self._pruning(_checked(request)))

    async def prune_many(self, requests: Sequence[PruneRequest]) -> list[PruneResult]:
        """Prune for several queries, up to eight at the same time; see `Client.prune_many`."""
        slots = asyncio.Semaphore(_CONCURRENT)

        async def prune(checked: CheckedRequest) -> PruneResult:
            async with slots:
                return await self._run(self._pruning(checked))

        tasks = [asyncio.ensure_future(prune(checked)) for checked in _all_checked(requests)]
        try:
            return list(await asyncio.gather(*tasks))
        finally:  # once one has failed, nobody reads the others
            for task in tasks:
                task.cancel()

    async def models(self) -> tuple[str, ...]:
        """Return the names of the served models, the default one first."""
        return await self._run(self._models())

    async def health(self) -> Health:
        """Ask, once, whether the service is ready; see `Client.health`."""
        return await self._run(self._health())

    async def _run(self, exchange: Exchange[T]) -> T:
        outcome: Any = None
        while True:
            try:
                request = exchange.send(outcome)
            except StopIteration as end:
                return cast(T, end.value)
            outcome = await self._connections.send(request)
