"""Scores of a source by a system, kept in ``DIR/SYSTEM/SOURCE.jsonl``: a header, then relevance and unit scores."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from secateur.eval.resumable import append_rows, resumed_rows
from secateur.eval.systems.base import SegmentedPassage, SharesWork, System
from secateur.eval.units import Scores, Source
from secateur.models.errors import DataError
from secateur.models.merging import PassageScores


@dataclass(frozen=True, slots=True)
class Collected:
    """The scores of a source by a system.

    Attributes:
        scores: Scores of the whole source.
        seconds: Time spent on scoring, earlier runs included.
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
        system: System that scores.
        source: Source to score.
        directory: Directory of the score files; None to keep nothing.

    Raises:
        DataError: The system returned no finite score for a unit.
    """
    if directory is None:
        rows = list(_score(system, source, 0))
    else:
        path = directory / system.name / f"{source.name}.jsonl"
        header = _header(system, source)
        done = resumed_rows(path, header)
        rows = append_rows(path, header, done, _score(system, source, len(done)))
    scores = Scores.of([_passages(row) for row in rows])
    return Collected(scores, sum(row["seconds"] for row in rows))
