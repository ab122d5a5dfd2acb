"""The queries step: the user's own queries, those made by rule, and those of a language model, in one file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from secateur.data_scripts.llm_run import LlmReport, reply_cache
from secateur.data_scripts.near_duplicates import normalised
from secateur.data_scripts.queries.generation import GenerateOptions, generate
from secateur.data_scripts.queries.own import own_queries, queries_by_rule
from secateur.data_scripts.records import Chunk, Query, read_records
from secateur.data_scripts.validation import unique_ids
from secateur.labelled.json_files import write_json_lines
from secateur.llm.endpoint import Endpoint
from secateur.models.errors import DataError, InputError


def make_queries(
    chunks: Path,
    out: Path,
    own: Path | None = None,
    rules: bool = True,
    endpoint: Endpoint | None = None,
    options: GenerateOptions | None = None,
    cache: Path | None = None,
) -> tuple[int, LlmReport]:
    """Write queries for chunks, each text once: the user's own first, then by rule, then the language model's.

    The chunks of a document must be together. The cache of replies is beside ``out`` unless given.

    Returns:
        How many were written, and the outcome of the model's requests.

    Raises:
        InputError: There are neither own queries nor rules nor a language model.
        DataError: A file cannot be read, or there is no query.
    """
    if own is None and not rules and endpoint is None:
        raise InputError("queries", "no source is given", "give own queries, rules or a language model")
    report = LlmReport()
    sources: list[Iterable[Query]] = [] if own is None else [own_queries(own)]
    if rules:
        sources.append(queries_by_rule(read_records(chunks, Chunk)))
    if endpoint is not None:
        options, cache = options or GenerateOptions(), cache or reply_cache(out)
        sources.append(generate(read_records(chunks, Chunk), endpoint, options, cache, report))

    def rows() -> Iterator[Query]:
        texts: set[str] = set()
        for query in chain.from_iterable(sources):
            if (text := normalised(query.query)) not in texts:
                texts.add(text)
                yield query
        if not texts and report.stopped is None:
            raise DataError(f"{chunks}: has no heading and no question; give own queries or a language model")

    return write_json_lines(out, unique_ids(rows(), out)), report
