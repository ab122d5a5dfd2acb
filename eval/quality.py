"""Quality of systems on labelled examples: scores and figures by source, and their macro averages."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secateur.eval.bootstrap import query_weights, weighted_mean
from secateur.eval.collect import collect
from secateur.eval.collections import RANKING_FIGURES, rank_figures
from secateur.eval.loaders import load_sources
from secateur.eval.metrics import Figures, figures
from secateur.eval.systems.base import System
from secateur.eval.units import FloatArray, Scores, Source, SourceBuilder
from secateur.models.errors import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measured:
    """A system with its scores and its figures, each float64[1 + resamples], by source, and their macro averages."""

    system: System
    scores: dict[str, Scores]
    figures: dict[str, Figures]
    macro: Figures


def read_sources(
    data: Path, builder: SourceBuilder, limit: int | None = None
) -> tuple[list[Source], dict[str, dict[str, int]]]:
    """Load and segment labelled examples; see `load_sources`.

    Returns:
        The sources that have a usable query, and how much was skipped or cannot be measured, by source and reason.

    Raises:
        DataError: The data cannot be read, or no source has a relevant passage.
    """
    loaded = load_sources(data, limit)
    sources = [builder.build(one.name, one.examples) for one in loaded if one.examples]
    skipped = {one.name: dict(one.skipped) for one in loaded}
    for source in sources:
        reasons = skipped[source.name]
        labelled = np.zeros(len(source.relevant), dtype=bool)
        labelled[source.unit_passage[source.gold]] = True
        if unlabelled := int((source.relevant & ~labelled).sum()):
            reasons["relevant passage without a labelled unit (cannot be lost)"] = unlabelled
        if not source.relevant.any():
            reasons["query of a source without relevant passages (compression only)"] = len(source.examples)
    if not any(source.relevant.any() for source in sources):
        raise DataError(
            f"{data}: no passage is labelled as relevant, so nothing can be measured; is the data labelled?"
        )
    return sources, {name: reasons for name, reasons in skipped.items() if reasons}


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


def _source_figures(system: System, source: Source, scores: Scores) -> Figures:
    weights = query_weights(source.name, len(source.examples))
    found = figures(source, scores, system.threshold, weights)
    for name, by_query in ranking_by_query(source, scores).items():
        if not np.isnan(by_query).all():
            found[name] = weighted_mean(by_query, weights)
    return found


def _macro(by_source: Mapping[str, Figures]) -> Figures:
    """Average each figure over the sources that have it and a relevant passage; each is resampled independently."""
    rows = [found for found in by_source.values() if "area" in found]
    names = dict.fromkeys(name for found in rows for name in found)
    return {name: np.mean([found[name] for found in rows if name in found], axis=0) for name in names}


def measure(system: System, sources: Sequence[Source], out: Path | None = None) -> Measured:
    """Score all sources with a system and compute its figures; see `collect` for ``out``."""
    scores: dict[str, Scores] = {}
    for source in sources:
        scores[source.name] = collect(system, source, out)
        log.info("%s: %s scored", system.name, source.name)
    found = {source.name: _source_figures(system, source, scores[source.name]) for source in sources}
    return Measured(system, scores, found, _macro(found))
