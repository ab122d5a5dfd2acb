"""Quality of systems on labelled examples: scores and figures by source, and their macro averages.

Scores are kept in ``DIR/SYSTEM/SOURCE.jsonl``: a header, then the relevance and unit scores of each query.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secateur.eval.bootstrap import FloatArray, query_weights, weighted_mean
from secateur.eval.collections import RANKING_FIGURES, rank_figures
from secateur.eval.metrics import Figures, figures, line_figures, line_recall
from secateur.eval.resumable import Row, resume
from secateur.eval.systems.base import SharesWork, System
from secateur.eval.units import Scores, Source
from secateur.models.errors import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measured:
    """A system with its scores and its figures, each float64[1 + resamples], by source, and their macro averages.

    There are macro averages by group if there are several groups.
    """

    system: System
    scores: dict[str, Scores]
    figures: dict[str, Figures]
    macro: Figures
    groups: dict[str, Figures]


def _header(system: System, source: Source) -> Row:
    depends = json.dumps({"name": system.name, **system.about}, sort_keys=True) + source.fingerprint()
    return {
        "system": system.name,
        "about": system.about,
        "queries": len(source.examples),
        "fingerprint": hashlib.sha256(depends.encode("utf-8")).hexdigest(),
    }


def _score(system: System, source: Source, start: int) -> Iterator[Row]:
    """Yield the scores of each query from the ``start``-th on."""
    started = time.perf_counter()
    if isinstance(system, SharesWork) and start < len(source.examples):
        system.prepare([example.query for example in source.examples[start:]], source.segmented[start:])
    for example, passages in zip(source.examples[start:], source.segmented[start:], strict=True):
        found = system.score_units(example.query, passages) if passages else []
        wanted = [len(p.units) for p in passages]
        if [len(p.units) for p in found] != wanted or not all(np.isfinite(p.units).all() for p in found):
            raise DataError(
                f"system {system.name!r}, query {example.id!r}: needs a finite score for each of {wanted} units"
            )
        yield {
            "id": example.id,
            "relevance": [None if math.isnan(p.relevance) else p.relevance for p in found],
            "units": [np.asarray(p.units).tolist() for p in found],
            "seconds": round(time.perf_counter() - started, 4),
        }
        started = time.perf_counter()


def collect(system: System, source: Source, directory: Path | None) -> Scores:
    """Score all queries of a source; with a directory, scores are written to it and a killed run resumes from it.

    Raises:
        DataError: The system returned no finite score for a unit.
    """
    if directory is None:
        rows = list(_score(system, source, 0))
    else:
        path = directory / system.name / f"{source.name}.jsonl"
        rows = resume(path, _header(system, source), lambda start: _score(system, source, start))
    units = [np.zeros(0), *(np.array(one, dtype=np.float64) for row in rows for one in row["units"])]
    # None, of a system that does not rank, becomes NaN.
    relevance = np.array([one for row in rows for one in row["relevance"]], dtype=np.float64)
    return Scores(np.concatenate(units), relevance, sum(row["seconds"] for row in rows))


def ranking_by_query(source: Source, scores: Scores) -> dict[str, FloatArray]:
    """Return each figure float64[queries]; NaN for queries that cannot be ranked or that the system does not rank.

    A query can be ranked when some of its passages are relevant and some are not. Ties break by position.
    """
    qrels: dict[str, dict[str, int]] = {}
    ranking: dict[str, list[str]] = {}
    for number in range(len(source.examples)):
        own = source.passage_query == number
        relevant, relevance = source.relevant[own], scores.relevance[own]
        if relevant.any() and not relevant.all() and not np.isnan(relevance).any():
            qrels[str(number)] = {str(i): int(r) for i, r in enumerate(relevant)}
            ranking[str(number)] = [str(i) for i in np.argsort(-relevance, kind="stable")]
    result = {name: np.full(len(source.examples), np.nan) for name in RANKING_FIGURES}
    for name, values in rank_figures(qrels, ranking).items() if ranking else ():
        result[name][[int(query) for query in values]] = list(values.values())
    return result


def macro(by_source: Mapping[str, Figures]) -> Figures:
    """Average each figure over the sources that have it and a relevant passage; each is resampled independently."""
    rows = [found for found in by_source.values() if "area" in found]
    names = dict.fromkeys(name for found in rows for name in found)
    return {name: np.mean([found[name] for found in rows if name in found], axis=0) for name in names}


def sources_by_group(sources: Sequence[Source]) -> dict[str, list[str]]:
    """Return the names of the sources of each group; nothing if there is one group."""
    found: dict[str, list[str]] = {}
    for source in sources:
        found.setdefault(source.group, []).append(source.name)
    return found if len(found) > 1 else {}


def measure(system: System, sources: Sequence[Source], out: Path | None = None) -> Measured:
    """Score all sources with a system and compute its figures; see `collect` for ``out``."""
    scores: dict[str, Scores] = {}
    found: dict[str, Figures] = {}
    for source in sources:
        own = scores[source.name] = collect(system, source, out)
        weights = query_weights(source.name, len(source.examples))
        found[source.name] = figures(source, own, system.threshold, weights)
        for name, by_query in ranking_by_query(source, own).items():
            if not np.isnan(by_query).all():
                found[source.name][name] = weighted_mean(by_query, weights)
        if source.by_line:
            found[source.name] |= line_figures(line_recall(source, own.units), weights)
        log.info("%s: %s measured", system.name, source.name)
    groups = {group: macro({name: found[name] for name in names}) for group, names in sources_by_group(sources).items()}
    return Measured(system, scores, found, macro(found), groups)
