"""Quality of systems on labelled examples: scores and figures by source, and their macro averages."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secateur.eval.bootstrap import query_weights, weighted_mean
from secateur.eval.collect import collect
from secateur.eval.loaders import load_sources
from secateur.eval.metrics import Figures, figures
from secateur.eval.ranking import ranking_by_query
from secateur.eval.systems.base import System
from secateur.eval.units import Scores, Source, SourceBuilder
from secateur.models.errors import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measured:
    """One system on all sources.

    Attributes:
        system: System that was measured.
        scores: Scores by source.
        figures: Figures by source, each float64[1 + resamples].
        macro: Means over the sources that have the figure.
    """

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
