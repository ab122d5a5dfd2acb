"""Queries written by a language model: in several styles, spread over each document's topics."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from secateur.data_scripts.queries.topics import Topic, topics
from secateur.data_scripts.records import Chunk, Query
from secateur.llm.budget import Budget, BudgetError, Pace
from secateur.llm.cache import ReplyCache
from secateur.llm.endpoint import ChatClient, Endpoint, EndpointError, Failed, without_thoughts
from secateur.models.errors import InputError, SecateurError

log = logging.getLogger(__name__)

QueryStyle = Literal["question", "keywords", "conversational"]
STYLES: tuple[QueryStyle, ...] = ("question", "keywords", "conversational")

_STYLE: dict[QueryStyle, str] = {
    "question": "a whole question, as one asks an expert",
    "keywords": "two to six keywords, as one types into a search box, with no question mark",
    "conversational": "a casual message to a chat assistant that tells a little of one's situation and then asks",
}
_SYSTEM = (
    "You write what real users would ask a search system. You get a passage, and write queries that this passage "
    "answers fully. A user has not seen the passage: never refer to it (no 'the passage', 'the author', 'this "
    "section'), name the things asked about, and do not copy whole phrases. Queries differ in what they ask. Reply "
    "with a JSON list of strings and nothing else; with [] if the passage answers nothing that anybody would ask."
)
_FENCE = re.compile(r"\A\s*```\w*\s*|\s*```\s*\Z")
_LIST_MARK = re.compile(r"\A\s*(?:[-*•]|\d{1,3}[.)])\s+")
_REFERS = re.compile(r"\b(?:th(?:is|e)) (?:passage|text|author|section|document|excerpt|article)\b", re.IGNORECASE)
_MOST_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """What to ask a model for.

    Attributes:
        styles: each is a request of its own.
        per_topic: queries of a topic and style.
        topics: of a document at most.
        concurrency: requests under way at once.
        seed: of the topics.

    Raises:
        InputError: one of them is wrong.
    """

    styles: tuple[QueryStyle, ...] = STYLES
    per_topic: int = 2
    topics: int = 4
    concurrency: int = 8
    seed: int = 13

    def __post_init__(self) -> None:
        for name in ("per_topic", "topics", "concurrency"):
            if getattr(self, name) < 1:
                raise InputError(name, f"{getattr(self, name)!r} is less than 1", "give 1 or more")
        unknown = [style for style in self.styles if style not in _STYLE]
        if unknown or not self.styles:
            raise InputError("styles", f"{unknown or 'none'}", f"give some of {', '.join(STYLES)}")


@dataclass(slots=True)
class GenerateReport:
    """What became of the requests.

    Attributes:
        queries: that came out.
        dropped: queries and replies that cannot be used, by reason.
        missing: requests without a reply, by reason; the next run asks again.
        made: requests sent.
        stopped: what ended the run early.
    """

    queries: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    made: int = 0
    stopped: SecateurError | None = None


def query_messages(topic: Topic, style: QueryStyle, count: int) -> list[dict[str, str]]:
    """Return the conversation that asks for a topic's queries in one style."""
    title = f"Title: {topic.chunk.title}\n" if topic.chunk.title else ""
    words = f"Ask about this side of it: {', '.join(topic.words)}\n" if topic.words else ""
    content = f"{title}Passage:\n{topic.chunk.text}\n\n{words}Write {count} queries. Each is {_STYLE[style]}."
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": content}]


def read_queries(reply: str) -> list[str] | None:
    """Read the queries of a reply: a JSON list, fenced or not, or else a list of lines; None where it is neither."""
    text = _FENCE.sub("", without_thoughts(reply)).strip()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        lines = text.splitlines()
        if not lines or not all(_LIST_MARK.match(line) for line in lines if line.strip()):
            return None
        value = [_LIST_MARK.sub("", line).strip().strip('"') for line in lines if line.strip()]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return None
    return [" ".join(one.split()) for one in value]


def _problem(query: str, topic: Topic, seen: set[str]) -> str | None:
    if not query:
        return "blank"
    if len(query) > _MOST_CHARACTERS:
        return "too_long"
    if _REFERS.search(query):
        return "refers_to_the_passage"
    if " ".join(query.lower().split()) in seen:
        return "duplicate"
    return "copied" if query.lower().rstrip(".?!") in topic.chunk.text.lower() and len(query.split()) > 6 else None


def _documents(chunks: Iterable[Chunk], options: GenerateOptions) -> Iterator[Topic]:
    for _, members in groupby(chunks, key=lambda chunk: chunk.document_id):
        yield from topics(list(members), options.topics, options.seed)


def generate(
    chunks: Iterable[Chunk],
    endpoint: Endpoint,
    options: GenerateOptions,
    cache: ReplyCache,
    report: GenerateReport,
    budget: Budget | None = None,
    pace: Pace | None = None,
) -> Iterator[Query]:
    """Yield queries that a model wrote, document by document.

    Args:
        chunks: a document's together.
        endpoint: whom to ask.
        options: what to ask for.
        cache: of replies; a run that was killed asks nothing twice.
        report: filled with what became of the requests.
        budget: of the job.
        pace: of the requests.

    Yields:
        Queries with ids ``CHUNK-STYLEN``, N from 0.

    Raises:
        EndpointError: the endpoint is of no use.
        DataError: the cache cannot be written.
    """
    seen: set[str] = set()
    with asyncio.Runner() as runner:
        client = ChatClient(endpoint, cache, asyncio.Semaphore(options.concurrency), budget, pace)
        try:
            for block in _blocks(_documents(chunks, options), 16 * options.concurrency):
                asked = [(topic, style) for topic in block for style in options.styles]
                replies = runner.run(_ask(client, asked, options, report))
                for (topic, style), reply in zip(asked, replies, strict=True):
                    if reply is not None:
                        yield from _usable(topic, style, reply, seen, report)
                if isinstance(report.stopped, EndpointError):
                    raise report.stopped
        finally:
            report.made = client.calls
            runner.run(client.__aexit__(None, None, None))


def _blocks(items: Iterable[Topic], size: int) -> Iterator[list[Topic]]:
    block: list[Topic] = []
    for item in items:
        block.append(item)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


async def _ask(
    client: ChatClient, asked: Sequence[tuple[Topic, QueryStyle]], options: GenerateOptions, report: GenerateReport
) -> list[str | None]:
    async def one(topic: Topic, style: QueryStyle) -> str | None:
        messages = query_messages(topic, style, options.per_topic)
        try:
            reply = client.cached(messages) if report.stopped else await client.ask(messages)
        except (BudgetError, EndpointError) as error:
            report.stopped = report.stopped or error
            reply = None
        if reply is None or isinstance(reply, Failed):
            report.missing["not_asked" if reply is None else reply.reason] += 1
            return None
        return reply.text

    return await asyncio.gather(*(one(*pair) for pair in asked))


def _usable(topic: Topic, style: QueryStyle, reply: str, seen: set[str], report: GenerateReport) -> Iterator[Query]:
    found = read_queries(reply)
    if found is None:
        report.dropped["no_list"] += 1
        return
    number = 0
    for query in found:
        problem = _problem(query, topic, seen)
        if problem:
            report.dropped[problem] += 1
            continue
        seen.add(" ".join(query.lower().split()))
        yield Query(f"{topic.chunk.id}-{style}{number}", query, topic.chunk.id, topic.chunk.document_id, style)
        number += 1
        report.queries += 1
