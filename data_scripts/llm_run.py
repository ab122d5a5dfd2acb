"""A run of a language model over many items: concurrent requests under one budget, resumed from cached replies."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field

from secateur.data_scripts.validation import Checked, Count
from secateur.llm.budget import Budget, BudgetError, Prices, pace
from secateur.llm.cache import Completion, ReplyCache
from secateur.llm.endpoint import ChatClient, Endpoint, Failed
from secateur.models.errors import DataError, SecateurError

_AHEAD = 4  # items in progress for each concurrent request, so that a slow reply does not hold up the others

Messages = list[dict[str, str]]
_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class LlmLimits(Checked):
    """Limits on the requests of a run.

    Attributes:
        concurrency: Number of concurrent requests.
        requests_per_minute: Largest number of requests per minute; None for no limit.
        prices: Prices per million tokens; None to count no cost.
        max_cost: Cost limit over all runs of the job; needs prices. None for no limit.
    """

    concurrency: Count = 8
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    prices: Prices | None = None
    max_cost: float | None = None

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        Budget(self.prices, self.max_cost)


def listed(counts: Mapping[str, int]) -> str:
    """Return counts by reason as text, such as ``2 timeout, 1 status_500``."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))


@dataclass(slots=True)
class LlmReport:
    """Outcome of a run's requests; ``sent`` and ``cached`` count them.

    Attributes:
        cost: Cost of the job, earlier runs included; 0 without prices.
        dropped: Unusable results by reason; the next run does not ask again.
        missing: Requests without a reply by reason; the next run asks again.
        stopped: Error that ended the run early: the budget is spent.
    """

    sent: int = 0
    cached: int = 0
    cost: float = 0.0
    dropped: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    stopped: SecateurError | None = None

    def request_lines(self) -> list[str]:
        """Return what is known of the requests, as lines for people."""
        lines = []
        if self.missing:
            count = self.missing.total()
            lines.append(f"{count} requests without a reply ({listed(self.missing)}); run again to repeat them")
        if self.sent or self.cached:
            cost = f", cost {self.cost:.4f}" if self.cost else ""
            lines.append(f"{self.sent} requests, {self.cached} replies from the cache{cost}")
        return lines

    def check_complete(self) -> None:
        """Raise an error if the budget was spent or requests got no reply; the next run asks for these alone."""
        if self.stopped is not None:
            raise self.stopped
        if self.missing:
            raise DataError(f"{self.missing.total()} requests got no reply; run again to send these alone")


def reply_cache(out: Path) -> Path:
    """Return the default directory of replies for an output file."""
    return out.with_name(f"{out.name}.replies")


class LlmRun:
    """Asks variants of an endpoint, such as one for each seed, about many items within common limits.

    Replies are cached when they arrive: a run that was killed resumes where it stopped, and asks nothing twice. The
    report is updated when `map` ends.
    """

    def __init__(self, endpoints: Sequence[Endpoint], cache: Path, options: LlmLimits, report: LlmReport) -> None:
        self._budget = Budget(options.prices, options.max_cost)
        slots, pacing = asyncio.Semaphore(options.concurrency), pace(options.requests_per_minute)
        self._clients = [ChatClient(one, ReplyCache(cache), slots, self._budget, pacing) for one in endpoints]
        self._ahead = _AHEAD * options.concurrency
        self._report = report

    def cached(self, messages: Messages, variant: int = 0) -> Completion | None:
        """Return the cached reply to a conversation; its cost counts towards the job's."""
        return self._clients[variant].cached(messages)

    async def ask(self, messages: Messages, variant: int = 0) -> Completion | Failed:
        """Return the reply to a conversation; once the budget is spent, only a cached one. See `ChatClient.ask`."""
        if self._report.stopped is None or self.cached(messages, variant) is not None:
            try:
                return await self._clients[variant].ask(messages)
            except BudgetError as error:
                self._report.stopped = self._report.stopped or error
        return Failed("not_asked", "the budget is spent")

    def map(self, work: Callable[[_T], Coroutine[Any, Any, _R]], items: Iterable[_T]) -> Iterator[_R]:
        """Yield the results of some work, which calls `ask`, on items in their order. A run can be mapped once.

        Only a few items are held at a time. An error of the work cancels what is in progress.
        """
        with asyncio.Runner() as runner:
            tasks: deque[asyncio.Task[_R]] = deque()

            async def first() -> _R:
                return await tasks.popleft()

            async def close() -> None:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for client in self._clients:
                    await client.__aexit__()

            try:
                for item in items:
                    tasks.append(runner.get_loop().create_task(work(item)))
                    if len(tasks) >= self._ahead:
                        yield runner.run(first())
                while tasks:
                    yield runner.run(first())
            finally:
                runner.run(close())
                self._report.sent = sum(client.calls for client in self._clients)
                self._report.cached = sum(client.hits for client in self._clients)
                self._report.cost = round(self._budget.spent, 9)
