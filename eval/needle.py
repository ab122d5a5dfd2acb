"""The needle test (Provence, section 4.3): is one told fact found wherever it stands, and how much comes with it?

Needles of one and of two sentences are put at every position of haystacks of several lengths, which are runs of units
of passages that do not answer. A needle is found when all of its units are kept.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secateur.eval.bootstrap import interval, query_weights, weighted_mean
from secateur.eval.collect import collect
from secateur.eval.metrics import sum_by, weakest_units
from secateur.eval.needles import NEEDLES, Needle
from secateur.eval.systems.base import System
from secateur.eval.units import BoolArray, FloatArray, Scores, Source, SourceBuilder
from secateur.labelled.examples import Example, LabelledPassage
from secateur.models.errors import DataError
from secateur.models.types import Passage

LENGTHS = (5, 10, 20, 30)
NEEDLE_SENTENCES = (1, 2)
_POSITION_CLASSES = 10


def haystacks(sources: Sequence[Source], length: int, rng: random.Random) -> Iterator[list[str]]:
    """Yield runs of ``length`` units, joined from passages without an answer, each from one source.

    Raises:
        DataError: no source has that many units.
    """
    pools = []
    for source in sources:
        passages = [p for row in source.segmented for p in row]
        units = [
            text for p, answers in zip(passages, source.relevant, strict=True) if not answers for text in p.unit_texts
        ]
        if len(units) >= length:
            pools.append(units)
    if not pools:
        raise DataError(f"needle test: no source has {length} units in passages without an answer; give more data")
    while True:
        pool = rng.choice(pools)
        start = rng.randint(0, len(pool) - length)
        yield pool[start : start + length]


def hide(needle: Needle, haystack: Sequence[str], position: int, name: str) -> Example:
    """Put a needle before the unit at ``position`` of a haystack (behind the last one, at its length)."""
    before, told = " ".join(haystack[:position]), " ".join(needle.sentences)
    start = len(before) + 1 if before else 0
    text = " ".join([*haystack[:position], told, *haystack[position:]])
    passage = LabelledPassage(Passage(text), ((start, start + len(told)),), True)
    return Example(name, "needle", needle.query, (passage,))


def trials(sources: Sequence[Source], sentences: int, per_position: int, seed: int = 0) -> list[Example]:
    """Return haystacks of each of `LENGTHS` with needles of that many sentences at every position.

    The id of each is ``LENGTH/POSITION/NUMBER``.
    """
    rng = random.Random(seed)
    needles = [needle for needle in NEEDLES if len(needle.sentences) == sentences]
    found = []
    for length in LENGTHS:
        stacks = haystacks(sources, length, rng)
        for position in range(length + 1):
            chosen = rng.sample(needles, min(per_position, len(needles)))
            found += [hide(n, next(stacks), position, f"{length}/{position}/{i}") for i, n in enumerate(chosen)]
    return found


def _extra_units(source: Source, scores: Scores, threshold: float) -> FloatArray:
    kept = (scores.units >= threshold) & ~source.gold
    return sum_by(kept, source.unit_passage, len(source.relevant))


def _grid(source: Source, found: BoolArray) -> dict[str, Any]:
    """Return the share found by length of the haystack and tenth of the way through it."""
    cells: dict[tuple[int, int], list[bool]] = {}
    for example, hit in zip(source.examples, found.tolist(), strict=True):
        length, position, _ = map(int, example.id.split("/"))
        tenth = min(position * _POSITION_CLASSES // (length + 1), _POSITION_CLASSES - 1)
        cells.setdefault((length, tenth), []).append(hit)
    return {
        "positions": [(tenth + 0.5) / _POSITION_CLASSES for tenth in range(_POSITION_CLASSES)],
        "lengths": list(LENGTHS),
        "found": [
            [
                float(np.mean(cells[length, tenth])) if (length, tenth) in cells else None
                for tenth in range(_POSITION_CLASSES)
            ]
            for length in LENGTHS
        ],
    }


def needle_test(
    systems: Sequence[System],
    sources: Sequence[Source],
    builder: SourceBuilder,
    out: Path | None,
    *,
    per_position: int = 4,
) -> dict[str, Any]:
    """Run the needle test on every system that has a threshold.

    Args:
        systems: what is tested.
        sources: where haystacks are taken from.
        builder: segments the trials.
        out: directory for score files.
        per_position: needles at each position of each length.
    """
    sets = {n: builder.build(f"needle-{n}", trials(sources, n, per_position)) for n in NEEDLE_SENTENCES}
    content: dict[str, Any] = {}
    for system in systems:
        if system.threshold is None:
            continue
        rows: dict[str, Any] = {}
        grids = []
        for sentences, source in sets.items():
            scores = collect(system, source, out).scores
            found = weakest_units(source, scores) >= system.threshold
            extra = _extra_units(source, scores, system.threshold)
            weights = query_weights(source.name, len(found))
            rows[str(sentences)] = {
                "found": float(found.mean()),
                "interval": interval(weighted_mean(found.astype(np.float64), weights)),
                "extra_units": float(extra.mean()),
                "passages": len(found),
            }
            grids.append(_grid(source, found))
        first = grids[0]
        first["found"] = [
            [_mean([grid["found"][i][j] for grid in grids]) for j in range(_POSITION_CLASSES)]
            for i in range(len(LENGTHS))
        ]
        content[system.name] = {"needles": rows, "grid": first}
    return {"systems": content}


def _mean(values: list[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return float(np.mean(known)) if known else None
