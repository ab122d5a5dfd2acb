"""Limits for the requests of a job: what they may cost, and how many may be sent per minute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

from secateur.llm.cache import Completion
from secateur.models.errors import InputError, MissingExtraError, SecateurError

_MESSAGE_OVERHEAD = 16  # largest number of tokens that a chat template adds to a message


class BudgetError(SecateurError):
    """The next request might exceed the budget. Every reply until then is cached."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of an endpoint per million tokens, in any currency; `InputError` for a negative one."""

    input: float
    output: float

    def __post_init__(self) -> None:
        for name, value in (("input", self.input), ("output", self.output)):
            if not value >= 0:
                raise InputError(f"prices.{name}", f"{value!r} is not a price", "give 0 or more per million tokens")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the cost of a request."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


def most_tokens(messages: Sequence[Mapping[str, str]]) -> int:
    """Return an upper bound of a prompt's tokens: no byte-level vocabulary makes more tokens than bytes."""
    return sum(len(message["content"].encode("utf-8", "replace")) + _MESSAGE_OVERHEAD for message in messages)


def tokens_of(messages: Sequence[Mapping[str, str]], reply: Completion) -> tuple[int, int]:
    """Return the prompt and completion tokens as the endpoint counted them; upper bounds if it did not."""
    prompt = most_tokens(messages) if reply.prompt_tokens is None else reply.prompt_tokens
    completion = len(reply.text.encode()) if reply.completion_tokens is None else reply.completion_tokens
    return prompt, completion


class Budget:
    """Counts the cost of a job, earlier runs included, and keeps it below a limit.

    The highest possible cost of a request is reserved while it runs, and its actual cost is counted after it. An
    endpoint that does not count tokens is charged the upper bound. ``spent`` is the cost so far.

    Raises:
        InputError: The limit is not positive, or there are no prices for it.
    """

    def __init__(self, prices: Prices | None = None, max_cost: float | None = None) -> None:
        if max_cost is not None and prices is None:
            raise InputError("max_cost", f"{max_cost!r} needs prices", "give prices per million tokens, IN and OUT")
        if max_cost is not None and not max_cost > 0:
            raise InputError("max_cost", f"{max_cost!r} is not positive", "give the highest cost of the job")
        self.spent = 0.0
        self._prices = prices
        self._limit = max_cost
        self._reserved = 0.0
        self._changed = asyncio.Condition()
        self._counted: set[str] = set()

    @asynccontextmanager
    async def reserved(self, messages: Sequence[Mapping[str, str]], max_tokens: int | None) -> AsyncIterator[None]:
        """Reserve the highest possible cost of a request. Waits while the end of other requests may free enough.

        Raises:
            BudgetError: The request might exceed the limit.
            InputError: There is a limit, but the length of the reply has none.
        """
        limit = self._limit
        if self._prices is None or limit is None:
            yield
            return
        if max_tokens is None:
            raise InputError("max_tokens", "None leaves the cost of a reply unlimited", "give a number, or no max_cost")
        most = self._prices.cost(most_tokens(messages), max_tokens)
        async with self._changed:
            await self._changed.wait_for(lambda: not limit - self._reserved < self.spent + most <= limit)
            if self.spent + most > limit:
                raise BudgetError(
                    f"max_cost: {self.spent:.4g} of {limit:g} is spent, and the next request may cost {most:.2g}; run "
                    "again with a higher limit: replies so far are cached"
                )
            self._reserved += most
        try:
            yield
        finally:
            async with self._changed:
                self._reserved -= most
                self._changed.notify_all()

    def count(self, key: str, messages: Sequence[Mapping[str, str]], reply: Completion) -> None:
        """Count the cost of a reply, of this run or of an earlier run of the job; once for each request key."""
        if self._prices is not None and key not in self._counted:
            self._counted.add(key)
            self.spent += self._prices.cost(*tokens_of(messages, reply))


def pace(requests_per_minute: float | None) -> AbstractAsyncContextManager[None]:
    """Return what each request enters first: it spaces them evenly within a rate limit; None for no limit."""
    if requests_per_minute is None:
        return nullcontext()
    try:
        from aiolimiter import AsyncLimiter
    except ImportError as error:
        raise MissingExtraError("aiolimiter", "llm") from error
    return AsyncLimiter(1, 60 / requests_per_minute)
