"""Quality of a pruner on labelled examples, by source and macro-averaged."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secateur.eval.metrics import (
    REPORTED_RETENTIONS,
    ScoredUnits,
    at_threshold,
    reciprocal_rank,
    retention_compression,
)
from secateur.eval.tables import markdown_table, rewrite_block
from secateur.models.errors import DataError
from secateur.models.examples import Example, data_files, read_examples, source_name
from secateur.models.pruner import Pruner
from secateur.models.types import PruneOptions, PruneRequest, Unit

log = logging.getLogger(__name__)

SYSTEM = "secateur"
_QUERIES_AT_ONCE = 16


def _requests(examples: Sequence[Example], titles: bool) -> list[PruneRequest]:
    options = PruneOptions(threshold=0.5, reorder=False, keep_title=False, return_units=True, truncate_query=True)
    return [
        PruneRequest(
            example.query,
            tuple(p.passage if titles else type(p.passage)(p.passage.text) for p in example.passages),
            options,
        )
        for example in examples
    ]


def score_source(
    pruner: Pruner, examples: Sequence[Example], *, titles: bool = False
) -> tuple[list[ScoredUnits], list[float]]:
    """Score a source's passages.

    Args:
        pruner: the system.
        examples: of one source.
        titles: show the passages' titles to the model.

    Returns:
        All passages' scored units, and the reciprocal ranks of the queries that can be ranked.
    """
    passages: list[ScoredUnits] = []
    ranks: list[float] = []
    for start in range(0, len(examples), _QUERIES_AT_ONCE):
        chunk = examples[start : start + _QUERIES_AT_ONCE]
        for example, result in zip(chunk, pruner.prune_many(_requests(chunk, titles)), strict=True):
            for labelled, item in zip(example.passages, result.results, strict=True):
                units = item.units or ()
                passages.append(
                    ScoredUnits(
                        characters=np.array([u.end - u.start for u in units], dtype=np.int64),
                        scores=np.array([u.score for u in units], dtype=np.float64),
                        relevant=np.array(labelled.unit_labels([Unit(u.start, u.end) for u in units]), dtype=bool),
                        passage_relevant=labelled.relevant,
                    )
                )
            rank = reciprocal_rank([r.score for r in result.results], [p.relevant for p in example.passages])
            if rank is not None:
                ranks.append(rank)
    return passages, ranks


def _source_metrics(pruner: Pruner, examples: Sequence[Example], titles: bool) -> dict[str, Any]:
    passages, ranks = score_source(pruner, examples, titles=titles)
    metrics: dict[str, Any] = {
        "queries": len(examples),
        "passages": len(passages),
        "mrr": float(np.mean(ranks)) if ranks else None,
        "default": at_threshold(passages, pruner.config.threshold),
    }
    if any(p.passage_relevant for p in passages):
        curve = retention_compression(passages)
        metrics["area"] = curve.area()
        metrics["compression_at_retention"] = {f"{r:.2f}": curve.compression_at(r) for r in REPORTED_RETENTIONS}
    return metrics


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _macro(sources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Average over the sources that have a figure; sources without a relevant passage have no area."""
    rows = [metrics for metrics in sources.values() if "area" in metrics]
    return {
        "queries": sum(metrics["queries"] for metrics in rows),
        "area": _mean([metrics["area"] for metrics in rows]),
        "mrr": _mean([metrics["mrr"] for metrics in rows]),
        "compression_at_retention": {
            f"{r:.2f}": _mean([metrics["compression_at_retention"][f"{r:.2f}"] for metrics in rows])
            for r in REPORTED_RETENTIONS
        },
        "default": {key: _mean([metrics["default"][key] for metrics in rows]) for key in rows[0]["default"]},
    }


def evaluate(pruner: Pruner, data: Path, *, limit: int | None = None, titles: bool = False) -> dict[str, Any]:
    """Measure a pruner on labelled examples.

    Args:
        pruner: the system.
        data: directory of JSON-lines files, one a source.
        limit: queries drawn from each source (always the same ones); None for all.
        titles: show the passages' titles to the model.

    Returns:
        ``{"systems": {"secateur": {"macro": {...}, "sources": {SOURCE: {...}}}}}``.

    Raises:
        DataError: no source has a relevant passage.
    """
    sources: dict[str, dict[str, Any]] = {}
    for path in data_files(data):
        examples = list(read_examples(path))
        if limit is not None:
            random.Random(0).shuffle(examples)
            examples = examples[:limit]
        if examples:
            sources[source_name(path)] = _source_metrics(pruner, examples, titles)
            log.info("%s done", source_name(path))
    if not any("area" in metrics for metrics in sources.values()):
        raise DataError(f"{data}: no source has a relevant passage; nothing can be measured")
    return {
        "model": pruner.config.name,
        "backend": f"{pruner.backend.name} {pruner.backend.precision}",
        "systems": {SYSTEM: {"macro": _macro(sources), "sources": sources}},
    }


def quality_table(metrics: dict[str, Any]) -> str:
    """Return the metrics as a Markdown table."""
    system = metrics["systems"][SYSTEM]

    def row(name: str, m: dict[str, Any]) -> list[str]:
        at = m.get("compression_at_retention", {})
        figures = [m.get("area"), m["mrr"], at.get("0.90"), at.get("0.95"), at.get("0.98")]
        figures += [m["default"]["retention"] if "area" in m else None, m["default"]["compression"]]
        return [name, str(m["queries"]), *("" if f is None else f"{f:.3f}" for f in figures)]

    return markdown_table(
        ["source", "queries", "area", "MRR", "compr. at 0.90", "at 0.95", "at 0.98", "retention*", "compression*"],
        [row(name, m) for name, m in system["sources"].items()] + [row("**macro**", system["macro"])],
    )


def write_report(metrics: dict[str, Any], out: Path | None, documents: Sequence[Path]) -> str:
    """Write `metrics.json` into ``out`` and the table into the marked blocks of documents; return the table."""
    table = quality_table(metrics)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    note = f"`{metrics['model']}` on {metrics['backend']}; * at the default threshold."
    for document in documents:
        rewrite_block(document, "quality", f"{table}\n\n{note}")
    return table
