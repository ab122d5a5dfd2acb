"""The query step: the user's own queries, those made by rule, and those of a language model, in one file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from secateur.data_scripts.queries.generation import GenerateOptions, GenerateReport, generate
from secateur.data_scripts.queries.own import own_queries
from secateur.data_scripts.queries.rules import queries_by_rule
from secateur.data_scripts.records import Chunk, Query, read_records
from secateur.labelled.json_files import write_json_lines
from secateur.llm.budget import Budget, Pace
from secateur.llm.cache import ReplyCache
from secateur.llm.endpoint import Endpoint
from secateur.models.errors import DataError, InputError


@dataclass(frozen=True, slots=True)
class Asking:
    """How a language model is asked for queries.

    Attributes:
        endpoint: whom to ask.
        options: what for.
        cache: directory of replies.
        budget: of the job.
        pace: of the requests.
    """

    endpoint: Endpoint
    options: GenerateOptions
    cache: Path
    budget: Budget | None = None
    pace: Pace | None = None


def _unique(queries: Iterable[Query]) -> Iterator[Query]:
    texts: set[str] = set()
    ids: set[str] = set()
    for query in queries:
        key = " ".join(query.query.lower().split())
        if key in texts:
            continue
        if query.id in ids:
            raise DataError(f"the query id {query.id!r} stands twice; give each its own")
        texts.add(key)
        ids.add(query.id)
        yield query


def make_queries(
    chunks: Path, out: Path, own: Path | None = None, rules: bool = True, asking: Asking | None = None
) -> tuple[int, GenerateReport]:
    """Write queries for chunks, each text once: the user's own first, then by rule, then the model's.

    Args:
        chunks: JSON lines of `Chunk`, a document's together.
        out: JSON lines of `Query`.
        own: a file of the user's queries.
        rules: whether to take headings and the questions of FAQs.
        asking: whether and how to ask a language model.

    Returns:
        How many were written, and what became of the model's.

    Raises:
        InputError: nothing was asked for.
        DataError: a file cannot be read or written, an id stands twice, or no query came out.
        EndpointError: the endpoint is of no use; nothing is written but its cache.
    """
    if own is None and not rules and asking is None:
        raise InputError("queries", "no way to make any is given", "give own queries, rules or an endpoint")
    report = GenerateReport()
    sources: list[Iterable[Query]] = []
    if own is not None:
        sources.append(own_queries(own))
    if rules:
        sources.append(queries_by_rule(read_records(chunks, Chunk)))
    if asking is not None:
        sources.append(
            generate(
                read_records(chunks, Chunk),
                asking.endpoint,
                asking.options,
                ReplyCache(asking.cache),
                report,
                asking.budget,
                asking.pace,
            )
        )

    def some() -> Iterator[Query]:
        count = 0
        for query in _unique(chain.from_iterable(sources)):
            count += 1
            yield query
        if not count and report.stopped is None:
            raise DataError(f"{chunks}: no query came out: no heading, no question; give own queries or an endpoint")

    return write_json_lines(out, some()), report
