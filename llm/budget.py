"""What a job may ask of an endpoint: how much it may cost, and how fast it may ask."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from secateur.llm.cache import Completion
from secateur.models.errors import InputError, MissingExtraError, SecateurError

_MESSAGE_OVERHEAD = 16  # tokens that a chat template puts around a message, at most


class BudgetError(SecateurError):
    """The next request could cost more than is left; every reply until then is cached."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What an endpoint charges, per million tokens, in any one currency.

    Raises:
        InputError: one is negative.
    """

    input: float
    output: float

    def __post_init__(self) -> None:
        for name, value in (("input", self.input), ("output", self.output)):
            if not value >= 0:
                raise InputError(f"prices.{name}", f"{value!r} is not a price", "give 0 or more per million tokens")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return what a call costs."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


def most_tokens(messages: Sequence[Mapping[str, str]]) -> int:
    """Return a bound on a prompt's tokens: no byte-level vocabulary makes more tokens of a text than it has bytes."""
    return sum(len(message["content"].encode("utf-8", "replace")) + _MESSAGE_OVERHEAD for message in messages)


def tokens_of(messages: Sequence[Mapping[str, str]], reply: Completion) -> tuple[int, int]:
    """Return a call's tokens in and out, as the endpoint counted them; at the bound where it did not."""
    prompt = most_tokens(messages) if reply.prompt_tokens is None else reply.prompt_tokens
    completion = len(reply.text.encode()) if reply.completion_tokens is None else reply.completion_tokens
    return prompt, completion


class Budget:
    """Counts what a job costs and never lets it pass a bound.

    Before a request its highest possible cost is set aside; after it, what it did cost is counted. An endpoint that
    does not count tokens is charged at the bound.

    Args:
        prices: None counts nothing.
        max_cost: of the job; None for no bound.

    Attributes:
        spent: so far.

    Raises:
        InputError: there is a bound, but no prices, or it is not positive.
    """

    def __init__(self, prices: Prices | None = None, max_cost: float | None = None) -> None:
        if max_cost is not None and prices is None:
            raise InputError("max_cost", f"{max_cost!r} without prices", "give prices per million tokens, IN and OUT")
        if max_cost is not None and not max_cost > 0:
            raise InputError("max_cost", f"{max_cost!r} is not positive", "give what the job may cost")
        self.prices = prices
        self.max_cost = max_cost
        self.spent = 0.0
        self._reserved = 0.0
        self._changed = asyncio.Condition()

    def bound(self, messages: Sequence[Mapping[str, str]], max_tokens: int | None) -> float:
        """Return the most that a request can cost.

        Raises:
            InputError: the length of the reply has no bound, though the cost has.
        """
        if self.prices is None:
            return 0.0
        if max_tokens is None and self.max_cost is not None:
            raise InputError("max_tokens", "None leaves the cost of a reply open", "give a bound, or no max_cost")
        return self.prices.cost(most_tokens(messages), max_tokens or 0)

    async def reserve(self, messages: Sequence[Mapping[str, str]], max_tokens: int | None) -> float:
        """Set aside what a request can cost, and return it; waits while requests under way may leave enough.

        Raises:
            BudgetError: that may pass the bound.
            InputError: as for `bound`.
        """
        most = self.bound(messages, max_tokens)
        bound = math.inf if self.max_cost is None else self.max_cost
        async with self._changed:
            await self._changed.wait_for(lambda: not bound - self._reserved < self.spent + most <= bound)
            if self.spent + most > bound:
                raise BudgetError(
                    f"max_cost: {self.spent:.4g} of {bound:g} is spent, and the next request may cost {most:.2g}; run "
                    "again with more, nothing that was answered is asked again"
                )
            self._reserved += most
        return most

    async def settle(self, reserved: float, messages: Sequence[Mapping[str, str]], reply: Completion | None) -> None:
        """Give back what was set aside for a request, and count what it did cost.

        Args:
            reserved: as `reserve` returned it.
            messages: of the request.
            reply: None where it failed: it is taken to have cost nothing.
        """
        async with self._changed:
            self._reserved -= reserved
            if reply is not None:
                self.count(messages, reply)
            self._changed.notify_all()

    def count(self, messages: Sequence[Mapping[str, str]], reply: Completion) -> None:
        """Count what a request did cost, in this run or in an earlier one of the job."""
        if self.prices is not None:
            self.spent += self.prices.cost(*tokens_of(messages, reply))


class Pace:
    """Holds requests back so that an endpoint's rate limits are kept.

    Args:
        requests_per_minute: evenly spaced; None for no limit.

    Raises:
        InputError: it is not positive.
        MissingExtraError: the `aiolimiter` package is not installed.
    """

    def __init__(self, requests_per_minute: float | None = None) -> None:
        if requests_per_minute is not None and not requests_per_minute > 0:
            raise InputError("requests_per_minute", f"{requests_per_minute!r} is not positive", "give 1 or more")
        self._limiter = None
        if requests_per_minute is not None:
            try:
                from aiolimiter import AsyncLimiter
            except ImportError as error:
                raise MissingExtraError("aiolimiter", "llm") from error
            self._limiter = AsyncLimiter(1, 60 / requests_per_minute)

    async def wait(self) -> None:
        """Return when the next request may be sent."""
        if self._limiter is not None:
            await self._limiter.acquire()
