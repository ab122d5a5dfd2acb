"""Reranking a first-stage run (TREC DL, BEIR, T2Ranking), and pruning the documents that it returns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from secateur.eval.bootstrap import FloatArray, interval, paired_difference, query_weights, value, weighted_mean
from secateur.eval.collections import RANKING_FIGURES, Collection, rank_figures
from secateur.eval.resumable import Row, resume
from secateur.labelled.bm25 import build_bm25, words
from secateur.labelled.markdown_blocks import markdown_table
from secateur.models.errors import DataError, InputError
from secateur.models.files import write_atomically
from secateur.models.pruner import Pruner

_STAGES = ("first stage", "reranked")

Ranking = Mapping[str, list[str]]
"""Documents by query, best first."""


@dataclass(frozen=True, slots=True)
class RerankOptions:
    """By which model to rerank, how many documents per query, and how many queries; None for the default and all.

    The documents that are not reranked follow the others in their own order.
    """

    model: str | None = None
    depth: int = 100
    limit: int | None = None

    def __post_init__(self) -> None:
        for name, number in (("depth", self.depth), ("limit", self.limit)):
            if number is not None and number < 1:
                raise InputError(f"--{name}", f"{number} is less than 1", "give at least 1")


def bm25_run(collection: Collection, queries: Sequence[str], depth: int) -> Ranking:
    """Rank the collection by BM25, titles included."""
    names = list(collection.documents)
    texts = [f"{p.title or ''} {p.text}" for p in collection.documents.values()]
    index = build_bm25((words(text, all_words=True) for text in texts), "eval")
    ranking = {}
    for query in queries:
        terms = [word for word in words(collection.queries[query], all_words=True) if word in index.vocab_dict]
        scores = np.asarray(index.get_scores(terms)) if terms else np.zeros(len(names))
        ranking[query] = [names[i] for i in np.argsort(-scores, kind="stable")[:depth].tolist()]
    return ranking


def _rerank(pruner: Pruner, collection: Collection, candidates: Ranking, start: int) -> Iterator[Row]:
    for query in list(candidates)[start:]:
        documents = candidates[query]
        passages = [collection.documents[name] for name in documents]
        result = pruner.prune(collection.queries[query], passages, truncate_query=True)
        yield {
            "query": query,
            "ranking": [documents[item.index] for item in result.results],
            "scores": [round(item.score, 6) for item in result.results],
            "input_tokens": result.usage.input_tokens,
            "output_tokens": result.usage.output_tokens,
        }


def _fingerprint(collection: Collection, candidates: Ranking) -> str:
    """Return a digest of the queries and texts that are reranked."""
    digest = hashlib.sha256()
    for query, names in candidates.items():
        read = query, collection.queries[query], [(name, collection.documents[name]) for name in names]
        digest.update(repr(read).encode())
    return digest.hexdigest()


def rerank(collection: Collection, out: Path, options: RerankOptions | None = None) -> dict[str, Any]:
    """Rerank and prune the documents of the first stage, query by query; without a run, BM25 is the first stage.

    Writes the new ranking as a TREC run (``rerank.trec``), ``rerank.jsonl``, from which a killed run resumes, and
    ``rerank.json``, whose content it returns: figures of both stages with intervals, and their difference.

    Raises:
        DataError: The first stage ranks no document, or a file cannot be written.
    """
    options = options or RerankOptions()
    names = sorted(collection.queries)[: options.limit]
    first_stage = collection.run or bm25_run(collection, names, options.depth)
    pruner = Pruner.load(options.model)
    settings = {
        "model": pruner.config.name,
        "backend": f"{pruner.backend.name} {pruner.backend.precision}",
        "depth": options.depth,
        "first_stage": "given run" if collection.run else "bm25",
        "queries": len(names),
    }
    candidates = {name: found[: options.depth] for name in names if (found := first_stage.get(name))}
    if not candidates:
        raise DataError("the run ranks no document for any judged query; there is nothing to rerank")
    header = {**settings, "fingerprint": _fingerprint(collection, candidates)}
    rows = resume(out / "rerank.jsonl", header, lambda start: _rerank(pruner, collection, candidates, start))
    report = {"settings": settings, **_report(collection, names, first_stage, rows)}
    write_atomically(out / "rerank.json", json.dumps(report, indent=2) + "\n")
    lines = [
        f"{row['query']} Q0 {document} {rank} {score} secateur\n"
        for row in rows
        for rank, (document, score) in enumerate(zip(row["ranking"], row["scores"], strict=True), 1)
    ]
    write_atomically(out / "rerank.trec", "".join(lines))
    return report


def _figures(collection: Collection, names: Sequence[str], ranking: Ranking) -> dict[str, FloatArray]:
    """Return each ranking figure float64[1 + resamples]; a query without any document counts as 0."""
    weights = query_weights("rerank", len(names))
    by_query = rank_figures(collection.qrels, ranking)
    return {
        figure: weighted_mean(np.array([by_query[figure].get(name, 0.0) for name in names]), weights)
        for figure in RANKING_FIGURES
    }


def _report(collection: Collection, names: Sequence[str], first_stage: Ranking, rows: Sequence[Row]) -> dict[str, Any]:
    before = {row["query"]: first_stage[row["query"]] for row in rows}
    after = {row["query"]: row["ranking"] + before[row["query"]][len(row["ranking"]) :] for row in rows}
    first, second = (_figures(collection, names, ranking) for ranking in (before, after))
    report: dict[str, Any] = {"queries_without_a_document": len(names) - len(rows)}
    for stage, found in zip(_STAGES, (first, second), strict=True):
        report[stage] = {name: {"value": value(f), "interval": interval(f)} for name, f in found.items()}
    changes = {name: paired_difference(second[name], first[name]) for name in first}
    report["difference"] = {name: found.as_json() for name, found in changes.items() if found is not None}
    tokens = {key: sum(row[key] for row in rows) for key in ("input_tokens", "output_tokens")}
    report["pruning"] = {**tokens, "compression": 1 - tokens["output_tokens"] / max(tokens["input_tokens"], 1)}
    return report


def rerank_table(report: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    rows = []
    for stage in _STAGES:
        cells = [report[stage][name] for name in RANKING_FIGURES]
        rows.append([stage, *(f"{c['value']:.3f} [{c['interval'][0]:.3f}, {c['interval'][1]:.3f}]" for c in cells)])
    settings, pruning = report["settings"], report["pruning"]
    return (
        f"{markdown_table(['', *RANKING_FIGURES], rows)}\n\n{settings['queries']} queries, first stage "
        f"{settings['first_stage']}, depth {settings['depth']}; pruning at the default threshold drops "
        f"{pruning['compression']:.1%} of the tokens of the documents."
    )
