"""Retrieval test collections as they are handed around: TREC runs and qrels, TSV, BEIR directories."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from secateur.labelled.text_files import filled_lines, parse_json
from secateur.models.errors import DataError, InputError
from secateur.models.types import Passage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Collection:
    """What is needed to rerank.

    Attributes:
        queries: text by id.
        documents: passage by id.
        qrels: grade by query and document; above 0 is relevant.
        run: for each query its documents, best first.
    """

    queries: dict[str, str]
    documents: dict[str, Passage]
    qrels: dict[str, dict[str, int]]
    run: dict[str, list[str]]


def _is_json(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith((".jsonl", ".json"))


def read_texts(path: Path) -> dict[str, Passage]:
    """Read documents or queries: JSON lines with ``_id`` or ``id``, ``text`` and ``title``, or TSV of id and text.

    Raises:
        DataError: a line cannot be read, or an id stands twice; the message names file and line.
    """
    found: dict[str, Passage] = {}
    for number, line in filled_lines(path):
        try:
            if _is_json(path):
                row = parse_json(line)
                name, text = str(row["_id"] if "_id" in row else row["id"]), row["text"]
                title = row.get("title") or None
                if not isinstance(text, str):
                    raise TypeError("text must be a string")
            else:
                name, text = line.split("\t", 1)
                title = None
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}, line {number}: {type(error).__name__}: {error}") from error
        if name in found:
            raise DataError(f"{path}, line {number}: id {name!r} stands twice")
        found[name] = Passage(text, name, title)
    if not found:
        raise DataError(f"{path}: is empty")
    return found


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read judgements: TREC's four columns (query, 0, document, grade), or BEIR's three with a header line."""
    found: dict[str, dict[str, int]] = {}
    for number, line in filled_lines(path):
        parts = line.split()
        if number == 1 and parts[-1:] == ["score"]:
            continue
        try:
            query, document, grade = (parts[0], parts[-2], int(parts[-1])) if len(parts) in (3, 4) else (None, None, 0)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: the grade {parts[-1]!r} is no whole number") from error
        if query is None or document is None:
            raise DataError(f"{path}, line {number}: needs the columns query, 0, document, grade; it has {len(parts)}")
        found.setdefault(query, {})[document] = grade
    return found


def read_run(path: Path) -> dict[str, list[str]]:
    """Read a TREC run (query, Q0, document, rank, score, tag); documents by falling score, ties in the file's order."""
    scored: dict[str, dict[str, float]] = {}
    for number, line in filled_lines(path):
        parts = line.split()
        try:
            if len(parts) != 6:
                raise ValueError(f"needs the columns query, Q0, document, rank, score, tag; it has {len(parts)}")
            score = float(parts[4])
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        scored.setdefault(parts[0], {}).setdefault(parts[2], score)
    return {query: sorted(found, key=lambda name: -found[name]) for query, found in scored.items()}


def load_collection(
    *,
    beir: Path | None = None,
    collection: Path | None = None,
    queries: Path | None = None,
    qrels: Path | None = None,
    run: Path | None = None,
) -> Collection:
    """Load a collection.

    Args:
        beir: directory with ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/test.tsv``; the others override its files.
        collection: documents.
        queries: queries.
        qrels: judgements.
        run: first-stage ranking; without one `bm25_run` makes it.

    Raises:
        InputError: a part is missing.
        DataError: a file cannot be read, or the parts have no judged query in common.
    """
    if beir is not None:
        collection = collection or beir / "corpus.jsonl"
        queries = queries or beir / "queries.jsonl"
        qrels = qrels or beir / "qrels" / "test.tsv"
    for name, path in (("collection", collection), ("queries", queries), ("qrels", qrels)):
        if path is None:
            raise InputError(f"--{name}", "is missing", "give it, or --beir with a directory that has it")
    assert collection is not None and queries is not None and qrels is not None
    documents, texts, judged = read_texts(collection), read_texts(queries), read_qrels(qrels)
    names = [name for name in texts if any(grade > 0 for grade in judged.get(name, {}).values())]
    if not names:
        raise DataError(f"{qrels}: judges no query of {queries} as having a relevant document; are the ids the same?")
    kept = {name: texts[name].text for name in names}
    ranking = read_run(run) if run is not None else {}
    if run is not None and not any(name in ranking for name in names):
        raise DataError(f"{run}: ranks no query that {qrels} judges; are the ids the same?")
    missing = {document for name in names for document in ranking.get(name, []) if document not in documents}
    if missing:
        raise DataError(f"{run}: ranks {len(missing)} documents that {collection} lacks, e.g. {min(missing)!r}")
    return Collection(kept, documents, {name: judged[name] for name in names}, ranking)
