"""Scores of a source by a system, kept in ``DIR/SYSTEM/SOURCE.jsonl``: a header, then relevance and unit scores."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from secateur.eval.resumable import Row, resume
from secateur.eval.systems.base import SharesWork, System
from secateur.eval.units import Scores, Source
from secateur.models.errors import DataError


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
