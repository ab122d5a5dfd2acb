"""Scoring a source with a system, a line a query on disk, so that a killed run goes on where it stopped.

``DIR/SYSTEM/SOURCE.jsonl``: a first line that says what the scores depend on, then for each query its id and, by
passage, relevance and unit scores.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from secateur.eval.systems.base import SegmentedPassage, SharesWork, System
from secateur.eval.units import Scores, Source
from secateur.models.errors import DataError
from secateur.models.merging import PassageScores

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Collected:
    """What a system scored.

    Attributes:
        scores: of the whole source.
        seconds: spent on scoring, those of earlier sittings included.
    """

    scores: Scores
    seconds: float


def _header(system: System, source: Source) -> dict[str, Any]:
    depends = json.dumps({"name": system.name, **system.about}, sort_keys=True) + source.fingerprint()
    return {
        "system": system.name,
        "about": system.about,
        "queries": len(source.examples),
        "fingerprint": hashlib.sha256(depends.encode("utf-8")).hexdigest(),
    }


def _row(example_id: str, passages: list[PassageScores], seconds: float) -> dict[str, Any]:
    return {
        "id": example_id,
        "relevance": [None if math.isnan(p.relevance) else p.relevance for p in passages],
        "units": [np.asarray(p.units).tolist() for p in passages],
        "seconds": round(seconds, 4),
    }


def _passages(row: dict[str, Any]) -> list[PassageScores]:
    return [
        PassageScores(math.nan if relevance is None else float(relevance), np.array(units, dtype=np.float64))
        for relevance, units in zip(row["relevance"], row["units"], strict=True)
    ]


def _read(path: Path, header: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of an earlier sitting that belong to this run; a half-written last line is dropped."""
    if not path.is_file():
        return []
    first, *lines = path.read_text(encoding="utf-8").split("\n")
    rows = []
    try:
        if json.loads(first) != header:
            log.warning("%s holds scores of another model or of other data; scoring anew", path)
            return []
        rows = [json.loads(line) for line in lines[:-1]]
    except ValueError:
        log.warning("%s is broken; scoring anew", path)
        return []
    return rows


def _score(system: System, source: Source, start: int) -> Iterator[dict[str, Any]]:
    started = time.perf_counter()
    if isinstance(system, SharesWork) and start < len(source.examples):
        system.prepare([example.query for example in source.examples[start:]], source.segmented[start:])
    for example, passages in zip(source.examples[start:], source.segmented[start:], strict=True):
        found = system.score_units(example.query, passages) if passages else []
        _check(system, example.id, passages, found)
        yield _row(example.id, found, time.perf_counter() - started)
        started = time.perf_counter()


def _check(system: System, example_id: str, passages: tuple[SegmentedPassage, ...], found: list[PassageScores]) -> None:
    wanted = [len(p.units) for p in passages]
    if [len(p.units) for p in found] != wanted or not all(np.isfinite(p.units).all() for p in found):
        raise DataError(
            f"system {system.name!r}, query {example_id!r}: needs a finite score for each of {wanted} units"
        )


def collect(system: System, source: Source, directory: Path | None) -> Collected:
    """Score all queries of a source.

    Args:
        system: what scores.
        source: what is scored.
        directory: where score files lie; None to keep nothing.

    Raises:
        DataError: the system returned no finite score for some unit.
    """
    rows: list[dict[str, Any]] = []
    if directory is None:
        rows = list(_score(system, source, 0))
    else:
        path = directory / system.name / f"{source.name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        header = _header(system, source)
        rows = _read(path, header)
        with path.open("w", encoding="utf-8") as file:
            file.write("\n".join(json.dumps(row) for row in [header, *rows]) + "\n")
            for row in _score(system, source, len(rows)):
                file.write(json.dumps(row) + "\n")
                file.flush()
                rows.append(row)
    scores = Scores.of([_passages(row) for row in rows])
    return Collected(scores, sum(row["seconds"] for row in rows))
