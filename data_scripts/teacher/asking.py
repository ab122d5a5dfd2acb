"""Scoring a query's passages by a language model: pointwise, pairwise or listwise."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from secateur.data_scripts.records import Candidate, Candidates
from secateur.data_scripts.teacher import sorting
from secateur.data_scripts.teacher.verdicts import (
    Messages,
    listwise_messages,
    pairwise_messages,
    pointwise_messages,
    rank_logits,
    read_order,
    read_preference,
    read_yes_no,
    share_logits,
)
from secateur.llm.budget import Budget, BudgetError, Pace, Prices
from secateur.llm.cache import Completion, ReplyCache
from secateur.llm.endpoint import ChatClient, Endpoint, Failed
from secateur.models.errors import InputError

Mode = Literal["pointwise", "pairwise", "listwise"]
Sorting = Literal["allpair", "heapsort", "sliding"]

# Tokens that a reply needs.
REPLY_TOKENS: dict[Mode, int] = {"pointwise": 8, "pairwise": 16, "listwise": 512}
_TOP_LOGPROBS = 20  # the most that OpenAI's API gives
_NO_LOGPROBS = ("status_400", "status_422")  # how endpoints refuse a field that they do not know


@dataclass(frozen=True, slots=True)
class TeachOptions:
    """How a language model scores passages.

    Attributes:
        mode: a passage, two passages, or many passages a request.
        sorting: of the pairwise mode: which passages are compared.
        passes: of sliding sorting: as many as first ranks are to be right.
        window: passages a request of the listwise mode.
        step: passages by which the window moves.
        concurrency: requests under way at once.
        requests_per_minute: at most; None for no limit.
        prices: per million tokens; None where cost is of no interest.
        max_cost: bound of the job; None for none.

    Raises:
        InputError: one of them is wrong.
    """

    mode: Mode = "pointwise"
    sorting: Sorting = "allpair"
    passes: int = 10
    window: int = 20
    step: int = 10
    concurrency: int = 8
    requests_per_minute: float | None = None
    prices: Prices | None = None
    max_cost: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("passes", 1), ("window", 2), ("step", 1), ("concurrency", 1)):
            value = getattr(self, name)
            if value < least:
                raise InputError(name, f"{value!r} is less than {least}", f"give {least} or more")
        if self.step > self.window:
            raise InputError("step", f"{self.step} is more than the window's {self.window}", "give half the window")
        for name, known in (
            ("mode", ("pointwise", "pairwise", "listwise")),
            ("sorting", ("allpair", "heapsort", "sliding")),
        ):
            if getattr(self, name) not in known:
                raise InputError(name, f"{getattr(self, name)!r} is unknown", f"give one of {', '.join(known)}")
        Budget(self.prices, self.max_cost)


class _NoReplyError(Exception):
    """A request without a reply, because of which a whole query has no scores."""


class Asker:
    """Scores queries' passages; several queries may be under way. Close it in the end.

    Args:
        endpoint: whom to ask.
        cache: of replies.
        options: how.

    Attributes:
        missing: requests without a reply, by reason; another run asks for them again.
        unreadable: replies that say nothing usable; they are not asked for again.
        stopped: the budget's end, once it was reached.
    """

    def __init__(self, endpoint: Endpoint, cache: ReplyCache, options: TeachOptions) -> None:
        self._options = options
        self._budget = Budget(options.prices, options.max_cost)
        slots, pace = asyncio.Semaphore(options.concurrency), Pace(options.requests_per_minute)
        self._plain = ChatClient(endpoint, cache, slots, self._budget, pace)
        telling = replace(endpoint, extra={**endpoint.extra, "logprobs": True, "top_logprobs": _TOP_LOGPROBS})
        self._telling = ChatClient(telling, cache, slots, self._budget, pace)
        self._logprobs: bool | None = None  # whether the endpoint takes requests for them; None: not known yet
        self._probe = asyncio.Lock()
        self.missing: Counter[str] = Counter()
        self.unreadable = 0
        self.stopped: BudgetError | None = None

    async def close(self) -> None:
        """Give up the connections."""
        await self._plain.__aexit__(None, None, None)
        await self._telling.__aexit__(None, None, None)

    @property
    def calls(self) -> int:
        """Requests sent."""
        return self._plain.calls + self._telling.calls

    @property
    def hits(self) -> int:
        """Requests answered from the cache."""
        return self._plain.hits + self._telling.hits

    @property
    def spent(self) -> float:
        """What the job has cost so far."""
        return self._budget.spent

    async def score(self, candidates: Candidates) -> list[float | None]:
        """Return a logit for each passage of a query; None for those that were not judged.

        Pointwise scores stand for themselves. Pairwise and listwise ones compare a query's passages: the share of the
        others that a passage beats, as a logit (see `share_logits` and `rank_logits`).

        Raises:
            EndpointError: the endpoint is of no use.
            DataError: the cache cannot be written.
        """
        query, passages = candidates.query, candidates.passages
        if self._options.mode == "pointwise":
            return await sorting.settled(self._pointwise(query, passage) for passage in passages)
        try:
            if len(passages) < 2:
                # Nothing to compare with: neither better nor worse than the others.
                return [0.0 for _ in passages]
            if self._options.mode == "pairwise":
                return list(await self._pairwise(query, passages))
            return await self._listwise(query, passages)
        except _NoReplyError:
            return [None] * len(passages)

    async def _ask(self, client: ChatClient, messages: Messages) -> Completion | Failed:
        stored = client.cached(messages)
        if stored is not None:
            client.hits += 1
            self._budget.count(messages, stored)  # an earlier run of the job paid for it
            return stored
        if self.stopped is not None:
            return Failed("not_asked", "behind the end of the budget")
        try:
            return await client.ask(messages)
        except BudgetError as error:
            self.stopped = self.stopped or error
            return Failed("not_asked", str(error))

    async def _reply(self, messages: Messages) -> Completion:
        reply = await self._ask(self._plain, messages)
        if isinstance(reply, Failed):
            self.missing[reply.reason] += 1
            raise _NoReplyError
        return reply

    async def _telling_reply(self, messages: Messages) -> Completion | Failed:
        """Ask with log probabilities, or without where the endpoint refuses them; the first request finds that out."""
        if self._logprobs is None:
            async with self._probe:
                if self._logprobs is None:
                    reply = await self._ask(self._telling, messages)
                    if not isinstance(reply, Failed):
                        self._logprobs = True
                        return reply
                    if reply.reason not in _NO_LOGPROBS:
                        return reply
                    plain = await self._ask(self._plain, messages)
                    # Refused alike without: it was not the field, but perhaps this one passage's length.
                    self._logprobs = None if isinstance(plain, Failed) else False
                    return plain
        return await self._ask(self._telling if self._logprobs else self._plain, messages)

    async def _pointwise(self, query: str, passage: Candidate) -> float | None:
        reply = await self._telling_reply(pointwise_messages(query, passage))
        if isinstance(reply, Failed):
            self.missing[reply.reason] += 1
            return None
        odds = read_yes_no(reply)
        self.unreadable += odds is None
        return odds

    async def _pairwise(self, query: str, passages: Sequence[Candidate]) -> list[float]:
        known: dict[tuple[int, int], float] = {}

        async def compare(a: int, b: int) -> float:
            # Models prefer a place: both orders are asked, and where they disagree it is a tie.
            if (a, b) not in known:
                replies = await sorting.settled(
                    self._reply(pairwise_messages(query, passages[first], passages[second]))
                    for first, second in ((a, b), (b, a))
                )
                for_a, for_b = map(read_preference, replies)
                self.unreadable += (for_a is None) + (for_b is None)
                share = (0.5 if for_a is None else float(for_a)) + (0.5 if for_b is None else 1.0 - for_b)
                known[a, b], known[b, a] = share / 2, 1 - share / 2
            return known[a, b]

        count, options = len(passages), self._options
        if options.sorting == "allpair":
            return share_logits(await sorting.all_pairs(count, compare), count - 1)
        if options.sorting == "heapsort":
            return rank_logits(await sorting.heapsort(count, compare))
        return rank_logits(await sorting.sliding(count, compare, options.passes))

    async def _listwise(self, query: str, passages: Sequence[Candidate]) -> list[float | None]:
        readable = 0

        async def rank(rows: Sequence[int]) -> list[int]:
            nonlocal readable
            reply = await self._reply(listwise_messages(query, [passages[row] for row in rows]))
            order = read_order(reply, len(rows))
            if order is None:
                self.unreadable += 1
                return list(rows)
            readable += 1
            return [rows[place] for place in order]

        order = await sorting.windows(len(passages), rank, self._options.window, self._options.step)
        # Without one usable reply the order is the retriever's, which is no teacher's score.
        return list(rank_logits(order)) if readable else [None] * len(passages)
