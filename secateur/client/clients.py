"""`Client` and `AsyncClient`: `Pruner.prune` on the REST service, with the same arguments, results and errors."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
import weakref
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import httpx

from secateur.client.answers import Answers, Health
from secateur.client.errors import BadResponseError, ServiceUnavailableError
from secateur.client.exchange import Connections
from secateur.client.settings import ClientSettings
from secateur.client.wire import answer_limit, body, join, passthrough, split
from secateur.models.options import PruneOptions, with_options
from secateur.models.processes import PerProcess
from secateur.models.requests import CheckedRequest, PassageLike, check_request, check_requests
from secateur.models.types import PruneRequest, PruneResult

log = logging.getLogger(__name__)

T = TypeVar("T")

_CONCURRENT = 8  # requests of `prune_many` at the same time, as many as the service's batch route works on


class AsyncClient:
    """`Client` for asyncio, with the same arguments; an async context manager.

    Can be used in several event loops, one after another or at the same time in several threads. Each loop has its own
    connections, which are closed when `asyncio.run` ends the loop.
    """

    def __init__(self, url: str | None = None, **settings: Any) -> None:
        self.settings = ClientSettings("" if url is None else url, **settings)
        self._answers = Answers(self.settings.hide, self.settings.route.via)
        self._connections = Connections(self.settings, self._answers)

    # The names and defaults of the settings, for `help` and editors.
    __init__.__signature__ = inspect.signature(ClientSettings.__init__)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"AsyncClient({self.settings.public_url!r})"

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
        return await self._prune(check_request(query, passages, PruneOptions.of(**options)))

    async def prune_request(self, request: PruneRequest) -> PruneResult:
        """Prune one `PruneRequest`; see `Client.prune`."""
        return await self._prune(check_request(request.query, request.passages, request.options))

    async def prune_many(self, requests: Sequence[PruneRequest]) -> list[PruneResult]:
        """Prune for several queries, up to eight at the same time; see `Client.prune_many`."""
        checked = check_requests(requests)
        slots = asyncio.Semaphore(_CONCURRENT)

        async def prune(one: CheckedRequest) -> PruneResult:
            async with slots:
                return await self._prune(one)

        tasks = [asyncio.ensure_future(prune(one)) for one in checked]
        try:
            return list(await asyncio.gather(*tasks))
        finally:  # once one has failed, nobody reads the others
            for task in tasks:
                task.cancel()

    async def _prune(self, checked: CheckedRequest) -> PruneResult:
        request, results = checked.request, []
        try:
            for part in split(request):
                content = body(request, part, self.settings.model)
                limit = answer_limit(request, part, content)
                answer = await self._connections.send("POST", "/v1/prune", content, limit=limit, offset=part.offset)
                results.append(self._answers.result(answer, request, part))
        except (ServiceUnavailableError, BadResponseError) as error:  # other errors are for the caller to fix
            if self.settings.on_error == "raise":
                raise
            log.warning("passages are passed through unpruned: %s", error)
            return passthrough(request, error)
        return join(results, request, checked.warnings)

    async def models(self) -> tuple[str, ...]:
        """Return the names of the served models, the default one first."""
        return self._answers.models(await self._connections.send("GET", "/v1/models"))

    async def health(self) -> Health:
        """Ask, once, whether the service is ready; see `Client.health`."""
        deadline = time.monotonic() + self.settings.timeout_s
        outcome = await self._connections.try_once("GET", "/health/ready", deadline=deadline)
        if not isinstance(outcome, httpx.Response):
            raise self._connections.error_of(outcome)[0]
        return self._answers.health(outcome.status_code, outcome.content)


class Client:
    """Prunes on a running service. Keeps its connections, and can be shared between threads; a context manager.

    A request of more than 1,000 passages or 500,000 characters is sent in parts, one after another, each with the
    full timeout. With `max_tokens`, `compression`, `top_n` or `dedupe`, which compare all passages, it is sent whole,
    and the service refuses it if it is too large. Requests are sent by the client's own thread, which starts with the
    first one.

    Args:
        url: Address of the service; default: SECATEUR_URL in the environment, or http://127.0.0.1:8080.
        api_key: API key; default: SECATEUR_API_KEY in the environment, if set. White space around it is removed, and
            an empty key counts as not given. No error, warning or log shows it.
        model: Name of a served model; default: the service's default model.
        timeout_s: Time limit of one HTTP request in seconds, with all its attempts and the waits between them.
        retries: Number of further attempts after status 429, 502 or 503 or a lost connection. A request may be sent
            twice, because pruning changes nothing at the service.
        on_error: `raise`, or `passthrough`: if the service is down, too slow or overloaded, or returns garbage,
            passages are returned unpruned, in their order, with a score of 0, a warning in the result and one in the
            log. An error that the caller has to fix (a wrong argument, a wrong key) is raised in any case.
        max_connections: Largest number of open connections.
        service_timeout_s: Seconds that the service may take for a request; default: its own, 30 s unless changed.

    Raises:
        InputError: A setting is wrong.
    """

    def __init__(self, url: str | None = None, **settings: Any) -> None:
        self._client = AsyncClient(url, **settings)
        self.settings = self._client.settings
        self._loop = PerProcess(partial(_LoopThread, self._client))

    __init__.__signature__ = AsyncClient.__init__.__signature__  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"Client({self.settings.public_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections of this process; a later call opens new ones."""
        self._run(self._client.close())

    @with_options
    def prune(self, query: str, passages: Sequence[PassageLike], **options: Any) -> PruneResult:
        """Prune and rerank passages for a query; arguments and result are those of `Pruner.prune`.

        Ids and metadata are not sent: the result has the caller's own objects.

        Raises:
            InputError: An argument is wrong; the message names it.
            ServiceError: The service did not answer, or gave a bad answer.
        """
        return self._run(self._client.prune(query, passages, **options))

    def prune_request(self, request: PruneRequest) -> PruneResult:
        """Prune one `PruneRequest`; see `prune`."""
        return self._run(self._client.prune_request(request))

    def prune_many(self, requests: Sequence[PruneRequest]) -> list[PruneResult]:
        """Prune for several queries, up to eight at the same time; results have the order of the requests.

        Raises:
            InputError: A request is wrong; the message names it and the field. Nothing was sent.
            ServiceError: See `prune`.
        """
        return self._run(self._client.prune_many(requests))

    def models(self) -> tuple[str, ...]:
        """Return the names of the served models, the default one first."""
        return self._run(self._client.models())

    def health(self) -> Health:
        """Ask, once, whether the service is ready.

        Raises:
            ServiceError: The service cannot be reached.
        """
        return self._run(self._client.health())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop.get().loop)
        try:
            return future.result()
        finally:
            future.cancel()  # if the caller was interrupted


class _LoopThread:
    """An event loop in a thread of its own, for a client that is not asynchronous. It ends when this is freed."""

    def __init__(self, client: AsyncClient) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=_serve, args=(self.loop,), name="secateur-client", daemon=True).start()
        weakref.finalize(self, _end, self.loop, client).atexit = False


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop().run_forever()


def _end(loop: asyncio.AbstractEventLoop, client: AsyncClient) -> None:
    async def end() -> None:
        await client.close()
        loop.stop()

    asyncio.run_coroutine_threadsafe(end(), loop)
