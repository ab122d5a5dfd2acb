"""What baselines reach on text by line: the recall of gold lines by BM25, and by lines in a random order."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secateur.eval.bootstrap import FloatArray, query_weights
from secateur.eval.metrics import Figures, line_figures, line_recall
from secateur.eval.quality import collect, sources_by_group
from secateur.eval.summary import nested
from secateur.eval.systems.baselines import bm25
from secateur.eval.units import Source

_ORDERS = 20


def random_recall(source: Source) -> dict[float, FloatArray]:
    """Return the `line_recall` of lines in a random order, as the mean of 20 orders that are always the same."""
    rng = np.random.default_rng(zlib.crc32(source.name.encode("utf-8")))
    drawn = [line_recall(source, rng.random(len(source.gold))) for _ in range(_ORDERS)]
    return {share: np.mean([recalls[share] for recalls in drawn], axis=0) for share in drawn[0]}


def _mean(rows: Sequence[Figures]) -> dict[str, Any]:
    return nested({name: np.mean([row[name] for row in rows], axis=0) for name in rows[0]}, None)


def line_baselines(sources: Sequence[Source], out: Path | None = None) -> dict[str, Any]:
    """Return figures of the baselines by source and group, and as macro averages; see `collect` for ``out``."""
    by_line = [source for source in sources if source.by_line and source.gold.any()]
    if not by_line:
        return {}
    system = bm25()
    recalls = {
        "bm25": {source.name: line_recall(source, collect(system, source, out).units) for source in by_line},
        "random order": {source.name: random_recall(source) for source in by_line},
    }
    content: dict[str, Any] = {}
    for name, by_source in recalls.items():
        found = {
            one.name: line_figures(by_source[one.name], query_weights(one.name, len(one.examples))) for one in by_line
        }
        groups: dict[str, list[Figures]] = {}
        for group, names in sources_by_group(sources).items():
            if rows := [found[one] for one in names if one in found]:
                groups[group] = rows
        content[name] = {
            "macro": _mean(list(found.values())),
            "groups": {group: _mean(rows) for group, rows in groups.items()},
            "sources": {one: nested(figures, None) for one, figures in found.items()},
        }
    return content
