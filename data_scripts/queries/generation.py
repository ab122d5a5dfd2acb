"""Queries by a language model: in several styles, spread over the topics of each document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from secateur.data_scripts.llm_run import LlmLimits, LlmReport, LlmRun, Messages
from secateur.data_scripts.near_duplicates import normalised
from secateur.data_scripts.queries.topics import Topic, topics
from secateur.data_scripts.records import Chunk, Query
from secateur.data_scripts.validation import Count
from secateur.llm.endpoint import Endpoint, Failed, without_thoughts

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
_MAX_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class GenerateOptions(LlmLimits):
    """Which queries a language model writes.

    Attributes:
        styles: Styles, each a request of its own: ``question``, ``keywords``, ``conversational``.
        per_topic: Number of queries for each topic and style.
        topics: Largest number of topics of a document.
        seed: Seed of the topics.
    """

    styles: Annotated[tuple[QueryStyle, ...], Field(min_length=1)] = STYLES
    per_topic: Count = 2
    topics: Count = 4
    seed: int = 13


def query_messages(topic: Topic, style: QueryStyle, count: int) -> Messages:
    """Return the conversation that asks for a topic's queries in one style."""
    title = f"Title: {topic.chunk.title}\n" if topic.chunk.title else ""
    words = f"Ask about this side of it: {', '.join(topic.words)}\n" if topic.words else ""
    content = f"{title}Passage:\n{topic.chunk.text}\n\n{words}Write {count} queries. Each is {_STYLE[style]}."
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": content}]


def read_queries(reply: str) -> list[str] | None:
    """Return the queries of a reply, a JSON list or a list of lines; None if it is neither."""
    text = _FENCE.sub("", without_thoughts(reply)).strip()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines or not all(map(_LIST_MARK.match, lines)):
            return None
        value = [_LIST_MARK.sub("", line).strip().strip('"') for line in lines]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return None
    return [" ".join(one.split()) for one in value]


def _problem(query: str, chunk: Chunk, seen: set[str]) -> str | None:
    """Return why a query is dropped; None for a usable one."""
    if not query:
        return "blank"
    if len(query) > _MAX_CHARACTERS:
        return "too_long"
    if _REFERS.search(query):
        return "refers_to_the_passage"
    if normalised(query) in seen:
        return "duplicate"
    return "copied" if len(query.split()) > 6 and query.lower().rstrip(".?!") in chunk.text.lower() else None


def generate(
    chunks: Iterable[Chunk], endpoint: Endpoint, options: GenerateOptions, cache: Path, report: LlmReport
) -> Iterator[Query]:
    """Yield queries that a language model wrote, with ids ``CHUNK-STYLEN``, N from 0; see `make_queries`.

    The chunks of a document must be together. The report counts requests, and dropped queries by reason.
    """
    run = LlmRun([endpoint], cache, options, report)

    async def write(task: tuple[Topic, QueryStyle]) -> tuple[Chunk, QueryStyle, list[str]]:
        topic, style = task
        reply = await run.ask(query_messages(topic, style, options.per_topic))
        found = None if isinstance(reply, Failed) else read_queries(reply.text)
        if isinstance(reply, Failed):
            report.missing[reply.reason] += 1
        elif found is None:
            report.dropped["no_list"] += 1
        return topic.chunk, style, found or []

    tasks = (
        (topic, style)
        for _, members in groupby(chunks, key=lambda chunk: chunk.document_id)
        for topic in topics(list(members), options.topics, options.seed)
        for style in options.styles
    )
    seen: set[str] = set()
    for chunk, style, found in run.map(write, tasks):
        number = 0
        for query in found:
            if problem := _problem(query, chunk, seen):
                report.dropped[problem] += 1
                continue
            seen.add(normalised(query))
            yield Query(f"{chunk.id}-{style}{number}", query, chunk.id, chunk.document_id, style)
            number += 1
