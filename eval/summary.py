"""The measured figures as the plain JSON of `metrics.json` and `worst.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from secateur.eval.bootstrap import FloatArray, interval, paired_difference, value
from secateur.eval.collections import RANKING_FIGURES
from secateur.eval.metrics import Figures, curve, histogram, reliability, weakest_units
from secateur.eval.quality import Measured, sources_by_group
from secateur.eval.units import Source

_COMPARED = ("area", "mrr")
_WORST = 50  # passages of each kind


def nested(found: Figures, threshold: float | None) -> dict[str, Any]:
    """Return figures with dotted names as nested objects, and their 95% intervals under ``intervals``."""
    content: dict[str, Any] = dict.fromkeys(RANKING_FIGURES)
    for name, figure in found.items():
        group, _, inner = name.partition(".")
        if inner:
            content.setdefault(group, {})[inner] = value(figure)
        else:
            content[name] = value(figure)
    if threshold is not None:
        content["default"] = {"threshold": threshold, **content.get("default", {})}
    ends = {name: interval(figure) for name, figure in found.items()}
    return {**content, "intervals": {name: list(pair) for name, pair in ends.items() if pair is not None}}


def _source_summary(source: Source, measured: Measured) -> dict[str, Any]:
    scores = measured.scores[source.name]
    points = curve(source, scores, np.ones((1, len(source.examples))))
    return {
        "queries": len(source.examples),
        "passages": len(source.relevant),
        **nested(measured.figures[source.name], measured.system.threshold),
        "histogram": histogram(source, scores),
        "reliability": reliability(source, scores),
        **({} if points is None else {"curve": points[0].round(5).tolist()}),
    }


def _pooled(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sum the counts, and average the curves, of the sources that have a relevant passage."""
    rows = [row for row in summaries if "curve" in row]
    if not rows:
        return {"queries": 0, "passages": 0}
    return {
        "queries": sum(row["queries"] for row in rows),
        "passages": sum(row["passages"] for row in rows),
        "curve": np.mean([row["curve"] for row in rows], axis=0).round(5).tolist(),
        "histogram": {
            "edges": rows[0]["histogram"]["edges"],
            **{key: np.sum([row["histogram"][key] for row in rows], axis=0).tolist() for key in ("gold", "other")},
        },
        "reliability": _pooled_reliability([one for row in rows for one in row["reliability"]]),
    }


def _pooled_reliability(rows: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    bins: dict[tuple[float, float], list[dict[str, float]]] = {}
    for row in rows:
        bins.setdefault((row["low"], row["high"]), []).append(row)
    pooled = []
    for (low, high), parts in sorted(bins.items()):
        units = sum(int(p["units"]) for p in parts)
        means = {key: sum(p[key] * p["units"] for p in parts) / units for key in ("mean", "share")}
        pooled.append({"low": low, "high": high, **means, "units": units})
    return pooled


def system_summary(sources: Sequence[Source], measured: Measured) -> dict[str, Any]:
    """Return the part of `metrics.json` about one system."""
    system = measured.system
    by_source = {source.name: _source_summary(source, measured) for source in sources}
    return {
        "about": system.about,
        "trained_on": sorted(getattr(system, "trained_on", ())),
        "threshold": system.threshold,
        "seconds": round(sum(scores.seconds for scores in measured.scores.values()), 2),
        "macro": {**nested(measured.macro, system.threshold), **_pooled(list(by_source.values()))},
        "groups": {
            group: {
                **nested(measured.groups[group], system.threshold),
                **_pooled([by_source[name] for name in names]),
            }
            for group, names in sources_by_group(sources).items()
        },
        "sources": by_source,
    }


def compare(first: Measured, other: Measured) -> list[dict[str, Any]]:
    """Compare two systems query by query: their macro averages, of all sources and of each group, then each source."""
    scopes = {"macro": (first.macro, other.macro)}
    scopes |= {f"macro {group}": (first.groups[group], other.groups[group]) for group in first.groups}
    scopes |= {name: (first.figures[name], other.figures[name]) for name in first.figures}
    rows = []
    for figure in _COMPARED:
        for scope, (a, b) in scopes.items():
            if figure in a and figure in b and (found := paired_difference(a[figure], b[figure])) is not None:
                names = {"a": first.system.name, "b": other.system.name, "figure": figure, "scope": scope}
                rows.append({**names, **found.as_json(), "significant": found.significant})
    return rows


def _case(source: Source, units: FloatArray, passage: int, score: float, threshold: float) -> dict[str, Any]:
    """Return a passage as a system pruned it, with the score for which it is shown."""
    query = int(source.passage_query[passage])
    position = passage - int(np.searchsorted(source.passage_query, query))
    segmented = source.segmented[query][position]
    own = source.unit_passage == passage
    return {
        "source": source.name,
        "query": source.examples[query].query,
        "passage_id": str(segmented.passage.id or position),
        "score": score,
        "threshold": threshold,
        "units": [
            {"text": text, "score": round(unit, 4), "gold": gold, "kept": unit >= threshold}
            for text, unit, gold in zip(
                segmented.unit_texts, units[own].tolist(), source.gold[own].tolist(), strict=True
            )
        ],
    }


def worst_cases(sources: Sequence[Source], measured: Measured, threshold: float) -> dict[str, Any]:
    """Return the passages whose answer was dropped with the lowest scores, and whose other units scored highest."""
    losses: list[tuple[float, int, int]] = []
    keeps: list[tuple[float, int, int]] = []
    for number, source in enumerate(sources):
        scores = measured.scores[source.name]
        weakest = weakest_units(source, scores)
        lost = np.flatnonzero(source.relevant & (weakest < threshold)).tolist()
        losses += [(float(weakest[p]), number, p) for p in lost]
        strongest = np.full(len(source.relevant), -np.inf)
        np.maximum.at(strongest, source.unit_passage[~source.gold], scores.units[~source.gold])
        keeps += [(-float(strongest[p]), number, p) for p in np.flatnonzero(strongest >= threshold).tolist()]

    def cases(found: list[tuple[float, int, int]]) -> list[dict[str, Any]]:
        return [
            _case(sources[number], measured.scores[sources[number].name].units, passage, abs(score), threshold)
            for score, number, passage in sorted(found)[:_WORST]
        ]

    return {"system": measured.system.name, "losses": cases(losses), "keeps": cases(keeps)}
