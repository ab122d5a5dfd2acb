"""Retrieval test collections (TREC runs and qrels, TSV, BEIR directories), and figures of rankings by `ir_measures`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.labelled.text_files import filled_lines, parse_json
from secateur.models.errors import DataError, InputError, MissingExtraError
from secateur.models.segmentation import check_format
from secateur.models.types import Passage

RANKING_FIGURES = {"mrr": "RR", "mrr@10": "RR@10", "ndcg@10": "nDCG@10", "recall@5": "R@5"}
"""Figures by name, with their names in `ir_measures`: reciprocal rank (uncut and at 10), nDCG (Jarvelin and Kekalainen
2002) and recall."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Queries and documents by id, grades by query and document (above 0: relevant), and the first stage, if any."""

    queries: dict[str, str]
    documents: dict[str, Passage]
    qrels: dict[str, dict[str, int]]
    run: dict[str, list[str]]


def ir_measures_library() -> Any:
    """Return the module `ir_measures`; raise `MissingExtraError` if it is not installed."""
    try:
        import ir_measures
    except ImportError as error:
        raise MissingExtraError("ir-measures", "eval") from error
    return ir_measures


def read_texts(path: Path) -> dict[str, Passage]:
    """Read documents or queries: JSON lines with ``_id`` or ``id``, ``text`` and ``title``, or TSV of id and text.

    The format of a text is ``text``, unless its line has a ``format``.

    Raises:
        DataError: A line cannot be read, or an id is duplicated; the message names file and line.
    """
    found: dict[str, Passage] = {}
    is_json = path.name.removesuffix(".gz").endswith((".jsonl", ".json"))
    for number, line in filled_lines(path):
        try:
            if is_json:
                row = parse_json(line)
                name, text, title = str(row["_id"] if "_id" in row else row["id"]), row["text"], row.get("title")
                text_format = check_format("format", row.get("format") or "text")
                if not isinstance(text, str):
                    raise TypeError("text must be a string")
            else:
                (name, text), title, text_format = line.split("\t", 1), None, "text"
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise DataError(f"{path}, line {number}: {type(error).__name__}: {error}") from error
        if name in found:
            raise DataError(f"{path}, line {number}: id {name!r} is a duplicate")
        found[name] = Passage(text, name, title or None, text_format)
    if not found:
        raise DataError(f"{path}: is empty")
    return found


def _trec_lines(path: Path, parse: Callable[[str], Iterator[Any]], columns: str) -> Iterator[Any]:
    """Yield what `ir_measures` reads from each line. BEIR's qrels have a header line and lack the second column."""
    for number, line in filled_lines(path):
        parts = line.split()
        if number == 1 and parts[-1:] == ["score"]:
            continue
        if len(parts) == 3:
            parts.insert(1, "0")
        try:
            yield from parse(" ".join(parts) + "\n")
        except ValueError as error:
            raise DataError(f"{path}, line {number}: needs the columns {columns} ({error})") from error


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read judgements: TREC's four columns (query, 0, document, grade), or BEIR's three with a header line."""
    found: dict[str, dict[str, int]] = {}
    for one in _trec_lines(path, ir_measures_library().read_trec_qrels, "query, 0, document, grade"):
        found.setdefault(one.query_id, {})[one.doc_id] = one.relevance
    return found


def read_run(path: Path) -> dict[str, list[str]]:
    """Read a TREC run: the documents of each query by falling score, ties in the order of the file."""
    scored: dict[str, dict[str, float]] = {}
    columns = "query, Q0, document, rank, score, tag"
    for one in _trec_lines(path, ir_measures_library().read_trec_run, columns):
        scored.setdefault(one.query_id, {}).setdefault(one.doc_id, one.score)
    return {query: sorted(found, key=lambda name: -found[name]) for query, found in scored.items()}


def load_collection(
    *,
    beir: Path | None = None,
    collection: Path | None = None,
    queries: Path | None = None,
    qrels: Path | None = None,
    run: Path | None = None,
) -> Collection:
    """Load a collection from its files; those that are not given are taken from the directory ``beir``.

    Raises:
        InputError: A part is missing.
        DataError: A file cannot be read, or the parts have no judged query in common.
    """
    if beir is not None:
        collection = collection or beir / "corpus.jsonl"
        queries = queries or beir / "queries.jsonl"
        qrels = qrels or beir / "qrels" / "test.tsv"
    if collection is None or queries is None or qrels is None:
        parts = {"collection": collection, "queries": queries, "qrels": qrels}
        missing = next(name for name, path in parts.items() if path is None)
        raise InputError(f"--{missing}", "is missing", "give it, or --beir with a directory that has it")
    documents, texts, judged = read_texts(collection), read_texts(queries), read_qrels(qrels)
    names = [name for name in texts if any(grade > 0 for grade in judged.get(name, {}).values())]
    if not names:
        raise DataError(f"{qrels}: has no query of {queries} with a relevant document; are the ids the same?")
    ranking = read_run(run) if run is not None else {}
    if run is not None and not any(name in ranking for name in names):
        raise DataError(f"{run}: ranks no query that {qrels} judges; are the ids the same?")
    lacking = {document for name in names for document in ranking.get(name, []) if document not in documents}
    if lacking:
        raise DataError(f"{run}: ranks {len(lacking)} documents that {collection} lacks, e.g. {min(lacking)!r}")
    return Collection(
        {name: texts[name].text for name in names}, documents, {name: judged[name] for name in names}, ranking
    )


def rank_figures(
    qrels: Mapping[str, Mapping[str, int]], ranking: Mapping[str, list[str]]
) -> dict[str, dict[str, float]]:
    """Return values by figure and judged query, given the grades of documents and their ranking for each query."""
    library = ir_measures_library()
    # Ranks as scores: ties are already broken.
    run = {query: {name: float(-rank) for rank, name in enumerate(names)} for query, names in ranking.items()}
    measures = {library.parse_measure(measure): name for name, measure in RANKING_FIGURES.items()}
    found: dict[str, dict[str, float]] = {name: {} for name in RANKING_FIGURES}
    for metric in library.iter_calc(list(measures), {q: dict(j) for q, j in qrels.items()}, run):
        found[measures[metric.measure]][metric.query_id] = float(metric.value)
    return found
