"""Silver labels from a language model: asks about pairs, several at a time, and reads what the replies cite."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields, replace

from secateur.data_scripts.labels.citations import Cited, read_citations
from secateur.data_scripts.labels.prompts import NO_ANSWER, PromptStyle, label_messages
from secateur.data_scripts.records import Labelled, Pair
from secateur.llm.budget import Budget, BudgetError, Pace, Prices, tokens_of
from secateur.llm.cache import Completion, ReplyCache
from secateur.llm.endpoint import ChatClient, Endpoint, EndpointError, Failed, without_thoughts
from secateur.models.errors import InputError, SecateurError, shown
from secateur.models.segmentation import segment
from secateur.models.segmenters import get_segmenter
from secateur.models.types import Passage, Unit

_AHEAD = 4  # pairs taken up at once, times the requests under way: one slow reply holds none of the others up


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """How pairs are labelled.

    Attributes:
        style: ``answer`` (answer and cite) or ``select`` (numbers alone).
        samples: replies drawn for each pair; labels are the share that kept a unit (self-consistency).
        segmenter: sentence segmenter; the one of the model that will be trained.
        concurrency: requests under way at once.
        requests_per_minute: at most; None for no limit.
        prices: per million tokens; None where cost is of no interest.
        max_cost: of the whole job, earlier runs of it included; None for no bound.

    Raises:
        InputError: one of them is wrong.
    """

    style: PromptStyle = "answer"
    samples: int = 1
    segmenter: str = "nupunkt"
    concurrency: int = 8
    requests_per_minute: float | None = None
    prices: Prices | None = None
    max_cost: float | None = None

    def __post_init__(self) -> None:
        for name in ("samples", "concurrency"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(name, f"{value!r} is less than 1", "give 1 or more")
        if self.style not in ("answer", "select"):
            raise InputError("style", f"{shown(self.style)} is unknown", "give answer or select")
        Budget(self.prices, self.max_cost)


@dataclass(frozen=True, slots=True)
class NotLabelled:
    """A pair without labels.

    Attributes:
        pair: which.
        reason: ``no_units``, ``no_citation``, ``bad_citation``, ``cut_off`` or ``empty`` for a reply that cannot be
            used, which is not asked for again; a `Failed.reason` for no reply; ``not_asked`` behind the end of the
            budget.
        again: whether the next run asks for it.
    """

    pair: Pair
    reason: str
    again: bool


Outcome = Labelled | NotLabelled


def sample_endpoints(endpoint: Endpoint, samples: int) -> list[Endpoint]:
    """Return an endpoint a sample, told apart by ``seed``: each is another request, with its own place in the cache.

    Raises:
        InputError: several samples at temperature 0 would all be the same.
    """
    if samples == 1:
        return [endpoint]
    if endpoint.temperature == 0:
        raise InputError("temperature", f"is 0 with {samples} samples", "give one above 0, such as 0.7")
    return [replace(endpoint, extra={**endpoint.extra, "seed": number}) for number in range(samples)]


def _read(reply: Completion, count: int) -> Cited:
    text = without_thoughts(reply.text)
    if not text:
        return Cited(problem="empty")
    cited = read_citations(text, count)
    # What a token limit cut off may have cited more.
    return Cited(problem="cut_off") if reply.finish_reason == "length" else cited


def _answer(reply: Completion, cited: Cited) -> str:
    return without_thoughts(reply.text) if cited.numbers else ""


class Labeller:
    """Labels one pair after the other; several may be under way.

    Args:
        clients: one a sample.
        options: how.
    """

    def __init__(self, clients: Sequence[ChatClient], options: LabelOptions) -> None:
        self._clients = clients
        self._options = options
        self._segmenter = get_segmenter(options.segmenter)
        self.stopped: SecateurError | None = None

    def messages(self, pair: Pair) -> tuple[list[Unit], list[dict[str, str]]]:
        """Return a pair's units and the conversation that asks for its labels."""
        units = segment(Passage(pair.passage), self._segmenter)
        return units, label_messages(pair.query, pair.title, pair.passage, units, self._options.style)

    async def label(self, pair: Pair) -> Outcome:
        """Label a pair.

        The first error that ends the run is kept in `stopped`; pairs from then on are not asked for.
        """
        units, messages = self.messages(pair)
        if not any(pair.passage[unit.start : unit.end].strip() for unit in units) or not pair.query.strip():
            return NotLabelled(pair, "no_units", again=False)
        replies: list[Completion] = []
        for client in self._clients:
            try:
                reply = client.cached(messages) if self.stopped else await client.ask(messages)
            except (BudgetError, EndpointError) as error:
                self.stopped = self.stopped or error
                reply = None
            if reply is None:
                return NotLabelled(pair, "not_asked", again=True)
            if isinstance(reply, Failed):
                return NotLabelled(pair, reply.reason, again=True)
            replies.append(reply)
        return self._labelled(pair, units, messages, replies)

    def _labelled(
        self, pair: Pair, units: Sequence[Unit], messages: Sequence[dict[str, str]], replies: Sequence[Completion]
    ) -> Outcome:
        read = [_read(reply, len(units)) for reply in replies]
        usable = [(reply, cited) for reply, cited in zip(replies, read, strict=True) if cited.problem is None]
        if not usable:
            return NotLabelled(pair, read[0].problem or NO_ANSWER, again=False)
        votes = [sum(number in cited.numbers for _, cited in usable) for number in range(1, len(units) + 1)]
        tokens = [tokens_of(messages, reply) for reply in replies]
        usage: dict[str, float] = {
            "prompt_tokens": sum(prompt for prompt, _ in tokens),
            "completion_tokens": sum(completion for _, completion in tokens),
        }
        if self._options.prices is not None:
            usage["cost"] = round(sum(self._options.prices.cost(*pair_tokens) for pair_tokens in tokens), 9)
        return Labelled(
            **{item.name: getattr(pair, item.name) for item in fields(Pair)},
            units=tuple((unit.start, unit.end) for unit in units),
            labels=tuple(vote / len(usable) for vote in votes),
            answer=next((answer for answer in (_answer(*one) for one in usable) if answer), ""),
            raw=tuple(reply.text for reply in replies),
            usage=usage,
        )


@dataclass(slots=True)
class Calls:
    """What a run asked.

    Attributes:
        made: requests sent.
        cached: replies that an earlier run had already.
        stopped: what ended the run early.
    """

    made: int = 0
    cached: int = 0
    stopped: SecateurError | None = None


def label_stream(
    pairs: Iterable[Pair],
    endpoint: Endpoint,
    options: LabelOptions,
    cache: ReplyCache,
    calls: Calls,
    earlier: Iterable[Pair] = (),
) -> Iterator[Outcome]:
    """Label pairs as they come, in their order; a reply is in the cache before its pair comes out.

    Args:
        pairs: any number; a few at a time are held.
        endpoint: whom to ask.
        options: how.
        cache: of replies.
        calls: filled with what was asked.
        earlier: pairs of the job whose cached replies count towards ``max_cost``: usually the same pairs once more.

    Raises:
        InputError: samples and temperature do not go together, or the cost of a reply has no bound.
        DataError: the cache cannot be written.
    """
    budget, pace = Budget(options.prices, options.max_cost), Pace(options.requests_per_minute)
    endpoints = sample_endpoints(endpoint, options.samples)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        slots = asyncio.Semaphore(options.concurrency)
        clients = [
            runner.run(stack.enter_async_context(ChatClient(one, cache, slots, budget, pace))) for one in endpoints
        ]
        labeller = Labeller(clients, options)
        for pair in earlier if options.max_cost is not None else ():
            _, messages = labeller.messages(pair)
            for client in clients:
                if (reply := client.cached(messages)) is not None:
                    budget.count(messages, reply)
        try:
            under_way: deque[asyncio.Task[Outcome]] = deque()
            for pair in pairs:
                under_way.append(runner.get_loop().create_task(labeller.label(pair)))
                if len(under_way) >= _AHEAD * options.concurrency:
                    yield runner.run(_result(under_way.popleft()))
            while under_way:
                yield runner.run(_result(under_way.popleft()))
        finally:
            calls.made = sum(client.calls for client in clients)
            calls.cached = sum(client.hits for client in clients)
            calls.stopped = labeller.stopped
            runner.run(stack.aclose())


async def _result(task: asyncio.Task[Outcome]) -> Outcome:
    return await task
