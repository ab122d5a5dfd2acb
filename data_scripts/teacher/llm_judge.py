"""Relevance scores by a language model: pointwise, pairwise or listwise."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from secateur.data_scripts.llm_run import LlmLimits, LlmReport, LlmRun, Messages
from secateur.data_scripts.records import Candidate, Candidates
from secateur.data_scripts.teacher import sorting, verdicts
from secateur.data_scripts.validation import Count
from secateur.llm.cache import Completion
from secateur.llm.endpoint import Endpoint, Failed
from secateur.models.errors import InputError

_T = TypeVar("_T")
Mode = Literal["pointwise", "pairwise", "listwise"]
Sorting = Literal["allpair", "heapsort", "sliding"]

REPLY_TOKENS: dict[Mode, int] = {"pointwise": 8, "pairwise": 16, "listwise": 512}
"""Tokens that a reply needs in each mode."""
_TOP_LOGPROBS = 20  # the most that OpenAI's API gives
_LOGPROBS_REFUSED = ("status_400", "status_422")  # how endpoints refuse a field that they do not know
_PLAIN, _WITH_LOGPROBS = 0, 1


@dataclass(frozen=True, slots=True)
class TeachOptions(LlmLimits):
    """How a language model scores passages.

    Attributes:
        mode: What one request judges: ``pointwise`` one passage, ``pairwise`` two, ``listwise`` a window of passages
            (fewest requests, least exact).
        sorting: Pairwise: ``heapsort`` compares about 2 n log n pairs; ``allpair`` all of them, about three times as
            many for 30 passages without a measured gain; ``sliding`` neighbours in some passes.
        passes: Sliding: number of passes, and of first ranks that are correct afterwards.
        window: Listwise: number of passages per request.
        step: Listwise: number of passages by which the window moves.
    """

    mode: Mode = "pointwise"
    sorting: Sorting = "heapsort"
    passes: Count = 10
    window: Annotated[int, Field(ge=2)] = 20
    step: Count = 10

    def __post_init__(self) -> None:
        LlmLimits.__post_init__(self)
        if self.step > self.window:
            raise InputError("step", f"{self.step} is more than the window's {self.window}", "give half the window")


class _NoReplyError(Exception):
    """A request got no reply, so a whole query has no scores."""


class LlmJudge:
    """Scores queries: the run's `map` calls `score` for several at once. The report counts the requests."""

    def __init__(self, endpoint: Endpoint, cache: Path, options: TeachOptions, report: LlmReport) -> None:
        fields = {**endpoint.extra, "logprobs": True, "top_logprobs": _TOP_LOGPROBS}
        self.run = LlmRun([endpoint, replace(endpoint, extra=fields)], cache, options, report)
        self._options = options
        self._report = report
        self._logprobs: bool | None = None  # whether the endpoint gives them; None: not known yet
        self._probe = asyncio.Lock()

    async def score(self, candidates: Candidates) -> list[float | None]:
        """Return a logit for each passage of a query; None for one that was not judged.

        Pointwise scores are absolute. Pairwise and listwise scores compare the passages of one query: each is the logit
        of the share of other passages that the passage beats (`share_logits`, `rank_logits`).
        """
        query, passages = candidates.query, candidates.passages
        if self._options.mode == "pointwise":
            return await sorting.settled(self._pointwise(query, passage) for passage in passages)
        if len(passages) < 2:
            return [0.0 for _ in passages]  # nothing to compare with
        try:
            compared = self._pairwise if self._options.mode == "pairwise" else self._listwise
            return await compared(query, passages)
        except _NoReplyError:
            return [None] * len(passages)

    def _unless_failed(self, reply: Completion | Failed) -> Completion:
        if isinstance(reply, Failed):
            self._report.missing[reply.reason] += 1
            raise _NoReplyError
        return reply

    def _read(self, verdict: _T | None) -> _T | None:
        """Count a reply that cannot be read."""
        if verdict is None:
            self._report.dropped["unreadable"] += 1
        return verdict

    async def _ask_with_logprobs(self, messages: Messages) -> Completion | Failed:
        """Ask for log probabilities, or without where the endpoint refuses them; the first request finds out."""
        if self._logprobs is None:
            async with self._probe:
                if self._logprobs is None:
                    reply = await self.run.ask(messages, _WITH_LOGPROBS)
                    if isinstance(reply, Failed) and reply.reason in _LOGPROBS_REFUSED:
                        reply = await self.run.ask(messages, _PLAIN)
                        # Refused without the field as well: perhaps this one passage is too long.
                        self._logprobs = None if isinstance(reply, Failed) else False
                    elif not isinstance(reply, Failed):
                        self._logprobs = True
                    return reply
        return await self.run.ask(messages, _WITH_LOGPROBS if self._logprobs else _PLAIN)

    async def _pointwise(self, query: str, passage: Candidate) -> float | None:
        try:
            reply = self._unless_failed(await self._ask_with_logprobs(verdicts.pointwise_messages(query, passage)))
        except _NoReplyError:
            return None
        return self._read(verdicts.read_yes_no(reply))

    async def _preference(self, query: str, a: Candidate, b: Candidate) -> float:
        """Return 1 where passage a is preferred, 0 where b is, and 0.5 for a reply that names neither."""
        reply = self._unless_failed(await self.run.ask(verdicts.pairwise_messages(query, a, b)))
        preferred = self._read(verdicts.read_preference(reply))
        return 0.5 if preferred is None else float(preferred)

    async def _pairwise(self, query: str, passages: Sequence[Candidate]) -> list[float | None]:
        known: dict[tuple[int, int], float] = {}

        async def compare(a: int, b: int) -> float:
            if (a, b) not in known:
                # Models prefer a place, so both orders are asked; contradicting replies are a tie.
                forwards, backwards = await sorting.settled(
                    self._preference(query, passages[first], passages[second]) for first, second in ((a, b), (b, a))
                )
                known[a, b] = (forwards + 1 - backwards) / 2
                known[b, a] = 1 - known[a, b]
            return known[a, b]

        count, options = len(passages), self._options
        if options.sorting == "allpair":
            return [*verdicts.share_logits(await sorting.all_pairs(count, compare), count - 1)]
        if options.sorting == "heapsort":
            return [*verdicts.rank_logits(await sorting.heapsort(count, compare))]
        return [*verdicts.rank_logits(await sorting.sliding(count, compare, options.passes))]

    async def _listwise(self, query: str, passages: Sequence[Candidate]) -> list[float | None]:
        readable = 0

        async def rank(rows: Sequence[int]) -> list[int]:
            nonlocal readable
            messages = verdicts.listwise_messages(query, [passages[row] for row in rows])
            order = self._read(verdicts.read_order(self._unless_failed(await self.run.ask(messages)), len(rows)))
            readable += order is not None
            return list(rows) if order is None else [rows[place] for place in order]

        order = await sorting.windows(len(passages), rank, self._options.window, self._options.step)
        # Without one readable reply the order is the retriever's, which is no judgement.
        return [*verdicts.rank_logits(order)] if readable else [None] * len(passages)
