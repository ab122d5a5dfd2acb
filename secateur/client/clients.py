"""`Client` and `AsyncClient`: `Pruner.prune` on the REST service, with the same arguments, results and errors."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from secateur.client.errors import BadResponseError, ServiceError, ServiceUnavailableError
from secateur.client.exchange import (
    Answer,
    Ask,
    ClientSettings,
    Intake,
    OnError,
    UnreachableError,
    UnusableError,
    judge,
    need_httpx,
    timeout_of,
)
from secateur.client.passthrough import passthrough
from secateur.client.retrying import Attempts, Retry
from secateur.client.wire import Part, answer_limit, body, error_of, join, read, split
from secateur.models.errors import InputError
from secateur.models.options import PruneOptions, with_options
from secateur.models.requests import CheckedRequest, PassageLike, check_request
from secateur.models.types import PruneRequest, PruneResult

log = logging.getLogger(__name__)

_IN_FLIGHT = 8  # requests of `prune_many` under way at once, as many as the service's own batch route works on


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a service answers.

    Attributes:
        ready: requests can be served.
        model: that requests get which name none.
        models: all that are served.
    """

    ready: bool
    model: str | None
    models: tuple[str, ...]


class _Base:
    """The settings that both clients are made with, and what they do alike."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        model: str | None = None,
        timeout_s: float = 60.0,
        retries: int = 3,
        retry: Retry | None = None,
        on_error: OnError = "raise",
        max_connections: int = 16,
        service_timeout_s: float | None = None,
    ) -> None:
        need_httpx()
        self.settings = ClientSettings.read(
            url,
            api_key,
            model=model,
            timeout_s=timeout_s,
            retry=retry or Retry(retries),
            on_error=on_error,
            max_connections=max_connections,
            service_timeout_s=service_timeout_s,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings.public_url!r})"

    def _asks(self, request: PruneRequest) -> Iterator[tuple[Part, Ask]]:
        """Yield the parts of a request, each with what is sent for it."""
        for part in split(request):
            content = body(request, part, self.settings.model)
            yield part, Ask("POST", "/v1/prune", content, part.offset, answer_limit(request, part, content))

    def _read(self, content: bytes, request: PruneRequest, part: Part) -> PruneResult:
        try:
            return read(content, request, part, self.settings.hide)
        except BadResponseError as error:
            error.args = (f"{error}{self.settings.route.via}",)
            raise

    def _give_up(self, request: PruneRequest, error: ServiceError) -> PruneResult:
        """Answer for a service that does not, if the caller wants that.

        Raises:
            ServiceError: the caller does not want it, or the fault is the caller's own and would never go away.
        """
        down = isinstance(error, ServiceUnavailableError | BadResponseError)
        if self.settings.on_error == "raise" or not down:
            raise error
        log.warning("passages are passed through unpruned: %s", error)
        return passthrough(request, error)


def _checked(requests: Sequence[PruneRequest]) -> list[CheckedRequest]:
    checked = []
    for index, request in enumerate(requests):
        try:
            checked.append(check_request(request.query, request.passages, request.options))
        except InputError as error:
            raise InputError(f"requests[{index}].{error.field}", error.problem, error.hint) from error
    return checked


def _names(content: bytes) -> tuple[str, ...]:
    try:
        return _strings([model["id"] for model in json.loads(content)["data"]])
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # its exceptions hold the body
    raise BadResponseError("the service's answer is not a list of models", status=200)


def _strings(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("not a list of strings")
    return tuple(values)


def _health(answer: Answer, settings: ClientSettings) -> Health:
    try:
        content = json.loads(answer.content)
        ready, models = content["status"] == "ready", _strings(content["models"])
        model = content.get("model")
        if model is None or isinstance(model, str):
            return Health(ready and answer.status == 200, model, models)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # its exceptions hold the body
    if answer.status != 200:
        raise error_of(answer.status, answer.content, hide=settings.hide)
    raise BadResponseError(f"the service's answer does not tell its health{settings.route.via}", status=200)


class Client(_Base):
    """Prunes on a service. Keeps its connections, and may be shared between threads; a context manager.

    A request of more than 1,000 passages or 500,000 characters is sent in parts, one after another, each with the
    whole timeout; with `max_tokens` or `top_n`, which compare all passages, it is sent whole, and the service says
    when it is too large.

    Args:
        url: of the service; default: SECATEUR_URL in the environment, or http://127.0.0.1:8080.
        api_key: default: SECATEUR_API_KEY in the environment, if it is set. White space around a key is left out, and
            an empty key is none. No error, warning or log shows it.
        model: name of a served model; default: the service's default one.
        timeout_s: for one HTTP request, all its tries and the waits between them together, until the last byte.
        retries: further tries after a status 429, 502 or 503 or a lost connection.
        retry: instead of `retries`, with the waits.
        on_error: `raise`, or `passthrough`: when the service is down, too slow, too busy or answers garbage, passages
            come back whole, in their order, with a score of 0, a warning in the result and one in the log. What the
            caller has to fix (a wrong argument, a wrong key) is raised all the same.
        max_connections: open at once.
        service_timeout_s: time that the service may take for a request; default: its own, 30 s unless it was set.

    Raises:
        InputError: one of them is wrong.
        MissingExtraError: httpx is not installed.
    """

    def __init__(self, url: str | None = None, **settings: Any) -> None:
        super().__init__(url, **settings)
        from secateur.client.connections import SyncConnections

        self._connections = SyncConnections(self.settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections of this process; a later call opens new ones."""
        self._connections.close()

    @with_options
    def prune(self, query: str, passages: Sequence[PassageLike], **options: Any) -> PruneResult:
        """Prune and rerank passages for a query; arguments and result are those of `Pruner.prune`.

        Ids and metadata do not travel: the result has the caller's own objects.

        Raises:
            InputError: an argument is wrong; the message names it.
            ServiceError: the service did not answer, or not well.
        """
        return self._prune(check_request(query, passages, PruneOptions(**options)))

    def prune_request(self, request: PruneRequest) -> PruneResult:
        """Prune one `PruneRequest`; see `prune`."""
        return self._prune(check_request(request.query, request.passages, request.options))

    def prune_many(self, requests: Sequence[PruneRequest]) -> list[PruneResult]:
        """Prune for several queries, up to eight at once; results come in the order of the requests.

        Raises:
            InputError: a request is wrong; the message names it and the field. Nothing was sent then.
            ServiceError: as `prune`.
        """
        checked = _checked(requests)
        if not checked:
            return []
        with ThreadPoolExecutor(min(_IN_FLIGHT, len(checked))) as pool:
            return list(pool.map(self._prune, checked))

    def models(self) -> tuple[str, ...]:
        """Return the names of the served models, the default one first."""
        return _names(self._send(Ask("GET", "/v1/models")))

    def health(self) -> Health:
        """Ask, once, whether the service is ready.

        Raises:
            ServiceError: it cannot be reached.
        """
        attempts = Attempts(Retry(retries=0), self.settings.timeout_s)
        outcome = self._try(Ask("GET", "/health/ready"), attempts)
        if not isinstance(outcome, Answer):
            judge(outcome, attempts, self.settings)
            raise AssertionError("a failure is never a good answer")
        return _health(outcome, self.settings)

    def _prune(self, checked: CheckedRequest) -> PruneResult:
        request = checked.request
        results = []
        try:
            for part, ask in self._asks(request):
                results.append(self._read(self._send(ask), request, part))
        except ServiceError as error:
            return self._give_up(request, error)
        return join(results, request, checked.warnings)

    def _send(self, ask: Ask) -> bytes:
        attempts = Attempts(self.settings.retry, self.settings.timeout_s)
        while True:
            verdict = judge(self._try(ask, attempts), attempts, self.settings, ask.offset)
            if isinstance(verdict, bytes):
                return verdict
            time.sleep(verdict)

    def _try(self, ask: Ask, attempts: Attempts) -> Answer | Exception:
        import httpx

        from secateur.client.connections import deadline

        if self.settings.route.problem:
            return UnreachableError(self.settings.route.problem)
        try:
            with (
                deadline(attempts.left_s),
                self._connections.http().stream(
                    ask.method, ask.path, content=ask.content, timeout=timeout_of(attempts)
                ) as response,
            ):
                intake = Intake(response, ask.limit)
                for chunk in response.iter_raw():
                    intake.take(chunk)
            return intake.answer()
        except (httpx.HTTPError, UnusableError, UnicodeError) as error:
            return error


class AsyncClient(_Base):
    """`Client` for asyncio, with the same arguments; an async context manager.

    May be used in several event loops, one after another or at once in several threads. Each loop has connections of
    its own, which are closed when `asyncio.run` ends it.
    """

    def __init__(self, url: str | None = None, **settings: Any) -> None:
        super().__init__(url, **settings)
        from secateur.client.connections import AsyncConnections

        self._connections = AsyncConnections(self.settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections of the running event loop; a later call opens new ones."""
        await self._connections.close()

    @with_options
    async def prune(self, query: str, passages: Sequence[PassageLike], **options: Any) -> PruneResult:
        """Prune and rerank passages for a query; see `Client.prune`."""
        return await self._prune(check_request(query, passages, PruneOptions(**options)))

    async def prune_request(self, request: PruneRequest) -> PruneResult:
        """Prune one `PruneRequest`; see `Client.prune`."""
        return await self._prune(check_request(request.query, request.passages, request.options))

    async def prune_many(self, requests: Sequence[PruneRequest]) -> list[PruneResult]:
        """Prune for several queries, up to eight at once; see `Client.prune_many`."""
        slots = asyncio.Semaphore(_IN_FLIGHT)

        async def one(checked: CheckedRequest) -> PruneResult:
            async with slots:
                return await self._prune(checked)

        tasks = [asyncio.ensure_future(one(checked)) for checked in _checked(requests)]
        try:
            return list(await asyncio.gather(*tasks))
        finally:  # after one has failed, the others have no reader
            for task in tasks:
                task.cancel()

    async def models(self) -> tuple[str, ...]:
        """Return the names of the served models, the default one first."""
        return _names(await self._send(Ask("GET", "/v1/models")))

    async def health(self) -> Health:
        """Ask, once, whether the service is ready; see `Client.health`."""
        attempts = Attempts(Retry(retries=0), self.settings.timeout_s)
        outcome = await self._try(Ask("GET", "/health/ready"), attempts)
        if not isinstance(outcome, Answer):
            judge(outcome, attempts, self.settings)
            raise AssertionError("a failure is never a good answer")
        return _health(outcome, self.settings)

    async def _prune(self, checked: CheckedRequest) -> PruneResult:
        request = checked.request
        results = []
        try:
            for part, ask in self._asks(request):
                results.append(self._read(await self._send(ask), request, part))
        except ServiceError as error:
            return self._give_up(request, error)
        return join(results, request, checked.warnings)

    async def _send(self, ask: Ask) -> bytes:
        attempts = Attempts(self.settings.retry, self.settings.timeout_s)
        while True:
            verdict = judge(await self._try(ask, attempts), attempts, self.settings, ask.offset)
            if isinstance(verdict, bytes):
                return verdict
            await asyncio.sleep(verdict)

    async def _try(self, ask: Ask, attempts: Attempts) -> Answer | Exception:
        import httpx

        if self.settings.route.problem:
            return UnreachableError(self.settings.route.problem)
        try:
            http = await self._connections.http()
            async with (
                asyncio.timeout(attempts.left_s),
                http.stream(ask.method, ask.path, content=ask.content, timeout=timeout_of(attempts)) as response,
            ):
                intake = Intake(response, ask.limit)
                async for chunk in response.aiter_raw():
                    intake.take(chunk)
            return intake.answer()
        except (httpx.HTTPError, UnusableError, UnicodeError, TimeoutError) as error:
            return error
