"""Reranking a first-stage run (TREC DL, BEIR, T2Ranking), and what pruning makes of the documents it returns."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from secateur.eval.bootstrap import FloatArray, difference, interval, query_weights, value, weighted_mean
from secateur.eval.collections import Collection
from secateur.eval.ranking import RANKING_FIGURES, rank_figures
from secateur.eval.tables import markdown_table
from secateur.models.errors import DataError, InputError, MissingExtraError
from secateur.models.files import write_atomically
from secateur.models.pruner import Pruner

log = logging.getLogger(__name__)

_WORD = re.compile(r"\w+")
_CACHE = "rerank.jsonl"


@dataclass(frozen=True, slots=True)
class RerankOptions:
    """How to rerank.

    Attributes:
        model: model directory or shipped model's name; None for the default one.
        depth: documents of each query that are reranked; the rest keep their order behind them.
        limit: queries; None for all.
    """

    model: str | None = None
    depth: int = 100
    limit: int | None = None

    def check(self) -> None:
        """Raise InputError for options that cannot be used."""
        for name, number in (("depth", self.depth), ("limit", self.limit)):
            if number is not None and number < 1:
                raise InputError(f"--{name}", f"{number} is less than 1", "give at least 1")


def bm25_run(collection: Collection, queries: Sequence[str], depth: int) -> dict[str, list[str]]:
    """Rank the collection by BM25 (Lucene's variant, by `bm25s`), titles included."""
    try:
        import bm25s
    except ImportError as error:
        raise MissingExtraError("bm25s", "eval") from error
    names = list(collection.documents)
    texts = [f"{p.title or ''} {p.text}" for p in collection.documents.values()]
    index = bm25s.BM25(method="lucene")
    index.index([_WORD.findall(text.lower()) for text in texts], show_progress=False)
    known = set(index.vocab_dict)
    ranking = {}
    for query in queries:
        terms = [word for word in _WORD.findall(collection.queries[query].lower()) if word in known]
        scores = np.asarray(index.get_scores(terms)) if terms else np.zeros(len(names))
        ranking[query] = [names[i] for i in np.argsort(-scores, kind="stable")[:depth].tolist()]
    return ranking


def _read_cache(path: Path, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the queries that an earlier sitting with the same settings has done."""
    if not path.is_file():
        return {}
    first, *lines = path.read_text(encoding="utf-8").split("\n")
    try:
        if json.loads(first) != settings:
            log.warning("%s is of another run; starting anew", path)
            return {}
        return {row["query"]: row for row in map(json.loads, lines[:-1])}
    except (ValueError, KeyError):
        log.warning("%s is broken; starting anew", path)
        return {}


def _rerank_query(pruner: Pruner, collection: Collection, query: str, candidates: Sequence[str]) -> dict[str, Any]:
    passages = [collection.documents[name] for name in candidates]
    result = pruner.prune(collection.queries[query], passages, truncate_query=True)
    return {
        "query": query,
        "ranking": [candidates[item.index] for item in result.results],
        "scores": [round(item.score, 6) for item in result.results],
        "input_tokens": result.usage.input_tokens,
        "output_tokens": result.usage.output_tokens,
    }


def _figures(
    qrels: Mapping[str, Mapping[str, int]], ranking: Mapping[str, list[str]], names: Sequence[str]
) -> dict[str, FloatArray]:
    """Return each ranking figure float64[1 + resamples]; a query without any document counts 0."""
    weights = query_weights("rerank", len(names))
    by_query = rank_figures(qrels, ranking)
    return {
        figure: weighted_mean(np.array([by_query[figure].get(name, 0.0) for name in names]), weights)
        for figure in RANKING_FIGURES
    }


def rerank(collection: Collection, out: Path, options: RerankOptions | None = None) -> dict[str, Any]:
    """Rerank and prune the first stage's documents, query by query.

    Writes ``rerank.json``, the new ranking as a TREC run (``rerank.trec``), and, as it goes, ``rerank.jsonl``, from
    which a killed run goes on.

    Args:
        collection: see `secateur.eval.collections.load_collection`; without a run, BM25 ranks first.
        out: directory for the results.
        options: how.

    Returns:
        The content of ``rerank.json``: figures of the first stage and reranked, with intervals, and their difference.
    """
    options = options or RerankOptions()
    options.check()
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
    out.mkdir(parents=True, exist_ok=True)
    done = _read_cache(out / _CACHE, settings)
    with (out / _CACHE).open("w", encoding="utf-8") as file:
        file.write("\n".join(json.dumps(row) for row in [settings, *done.values()]) + "\n")
        for name in names:
            candidates = first_stage.get(name, [])[: options.depth]
            if name not in done and candidates:
                done[name] = _rerank_query(pruner, collection, name, candidates)
                file.write(json.dumps(done[name]) + "\n")
                file.flush()
    return _report(collection, out, names, first_stage, done, settings)


def _report(
    collection: Collection,
    out: Path,
    names: Sequence[str],
    first_stage: Mapping[str, list[str]],
    done: Mapping[str, dict[str, Any]],
    settings: dict[str, Any],
) -> dict[str, Any]:
    if not done:
        raise DataError("the run ranks no document for any judged query; nothing was reranked")
    before = {name: first_stage[name] for name in names if name in done}
    after = {name: done[name]["ranking"] + first_stage[name][len(done[name]["ranking"]) :] for name in before}
    figures = {
        "first stage": _figures(collection.qrels, before, names),
        "reranked": _figures(collection.qrels, after, names),
    }
    report: dict[str, Any] = {"settings": settings, "queries_without_a_document": len(names) - len(done)}
    for stage, found in figures.items():
        report[stage] = {name: {"value": value(f), "interval": interval(f)} for name, f in found.items()}
    changes = {name: difference(figures["reranked"][name], figures["first stage"][name]) for name in RANKING_FIGURES}
    report["difference"] = {
        name: {"difference": found.difference, "interval": [found.low, found.high], "p": found.p}
        for name, found in changes.items()
        if found is not None
    }
    tokens = {key: sum(row[key] for row in done.values()) for key in ("input_tokens", "output_tokens")}
    report["pruning"] = {**tokens, "compression": 1 - tokens["output_tokens"] / max(tokens["input_tokens"], 1)}
    write_atomically(out / "rerank.json", json.dumps(report, indent=2) + "\n")
    lines = [
        f"{name} Q0 {document} {rank} {score} secateur"
        for name in sorted(done)
        for rank, (document, score) in enumerate(zip(done[name]["ranking"], done[name]["scores"], strict=True), 1)
    ]
    write_atomically(out / "rerank.trec", "\n".join(lines) + "\n")
    return report


def rerank_table(report: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    rows = []
    for stage in ("first stage", "reranked"):
        cells = [report[stage][name] for name in RANKING_FIGURES]
        rows.append([stage, *(f"{c['value']:.3f} [{c['interval'][0]:.3f}, {c['interval'][1]:.3f}]" for c in cells)])
    table = markdown_table(["", *RANKING_FIGURES], rows)
    settings, pruning = report["settings"], report["pruning"]
    return (
        f"{table}\n\n{settings['queries']} queries, first stage: {settings['first_stage']}, depth {settings['depth']}; "
        f"pruning at the default threshold drops {pruning['compression']:.1%} of the documents' tokens."
    )
