"""The needle test (Provence, section 4.3): is one stated fact found at every position, and how much else is kept?

Needles of one and two sentences are put at every position of haystacks of several lengths. A haystack is a run of units
of passages that do not answer. A needle is found when all of its units are kept.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from secateur.eval.bootstrap import interval, query_weights, weighted_mean
from secateur.eval.metrics import sum_by, weakest_units
from secateur.eval.quality import collect
from secateur.eval.systems.base import System
from secateur.eval.units import Source, SourceBuilder
from secateur.labelled.examples import Example, LabelledPassage
from secateur.labelled.json_files import json_lines
from secateur.models.errors import DataError
from secateur.models.segmentation import format_of
from secateur.models.types import Passage

LENGTHS = (5, 10, 20, 30)
_SENTENCES = (1, 2)
_FILE = Path(__file__).with_name("needles.jsonl")
_TENTHS = 10


class Needle(NamedTuple):
    """An invented fact that no data set states, in one or two sentences, and a question that asks for it."""

    query: str
    sentences: list[str]


def read_needles() -> list[Needle]:
    """Return all needles."""
    return [Needle(row["query"], row["sentences"]) for _, row in json_lines(_FILE)]


def haystacks(sources: Sequence[Source], length: int, rng: random.Random) -> Iterator[list[str]]:
    """Yield runs of ``length`` units of prose without an answer, each run from one source that has that many."""
    pools = []
    for source in sources:
        passages = zip((p for row in source.segmented for p in row), source.relevant, strict=True)
        units = [
            text
            for passage, answers in passages
            if not answers and format_of(passage.passage) == "text"
            for text in passage.unit_texts
        ]
        if len(units) >= length:
            pools.append(units)
    if not pools:
        raise DataError(f"needle test: no source has {length} units of plain text without an answer; give more data")
    while True:
        pool = rng.choice(pools)
        start = rng.randint(0, len(pool) - length)
        yield pool[start : start + length]


def hide(needle: Needle, haystack: Sequence[str], position: int, name: str) -> Example:
    """Put a needle before the unit at ``position`` of a haystack, or after its last unit."""
    before, fact = " ".join(haystack[:position]), " ".join(needle.sentences)
    start = len(before) + 1 if before else 0
    text = " ".join([*haystack[:position], fact, *haystack[position:]])
    passage = LabelledPassage(Passage(text, format="text"), ((start, start + len(fact)),), True)
    return Example(name, "needle", needle.query, (passage,))


def trials(sources: Sequence[Source], sentences: int, per_position: int) -> list[Example]:
    """Return haystacks of all `LENGTHS` with such needles at every position; ids are ``LENGTH/POSITION/NUMBER``."""
    rng = random.Random(0)
    needles = [needle for needle in read_needles() if len(needle.sentences) == sentences]
    found = []
    for length in LENGTHS:
        stacks = haystacks(sources, length, rng)
        for position in range(length + 1):
            chosen = rng.sample(needles, min(per_position, len(needles)))
            found += [hide(n, next(stacks), position, f"{length}/{position}/{i}") for i, n in enumerate(chosen)]
    return found


def _grid(hits: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    """Return the share found by length of the haystack and tenth of the way through it, given each trial's id."""
    cells: dict[tuple[int, int], list[bool]] = {}
    for name, hit in hits:
        length, position, _ = map(int, name.split("/"))
        cells.setdefault((length, min(position * _TENTHS // (length + 1), _TENTHS - 1)), []).append(hit)
    shares = {cell: float(np.mean(values)) for cell, values in cells.items()}
    return {
        "positions": [(tenth + 0.5) / _TENTHS for tenth in range(_TENTHS)],
        "lengths": list(LENGTHS),
        "found": [[shares.get((length, tenth)) for tenth in range(_TENTHS)] for length in LENGTHS],
    }


def needle_test(
    systems: Sequence[System],
    sources: Sequence[Source],
    builder: SourceBuilder,
    out: Path | None,
    per_position: int = 4,
) -> dict[str, Any]:
    """Run the needle test on every system that has a threshold; see `collect` for ``out``."""
    sets = {n: builder.build(f"needle-{n}", trials(sources, n, per_position)) for n in _SENTENCES}
    content: dict[str, Any] = {}
    for system in systems:
        if system.threshold is None:
            continue
        rows: dict[str, Any] = {}
        hits: list[tuple[str, bool]] = []
        for sentences, source in sets.items():
            scores = collect(system, source, out)
            found = weakest_units(source, scores) >= system.threshold
            kept = (scores.units >= system.threshold) & ~source.gold
            weights = query_weights(source.name, len(found))
            rows[str(sentences)] = {
                "found": float(found.mean()),
                "interval": interval(weighted_mean(found.astype(np.float64), weights)),
                "extra_units": float(sum_by(kept, source.unit_passage, len(source.relevant)).mean()),
                "passages": len(found),
            }
            hits += zip((example.id for example in source.examples), found.tolist(), strict=True)
        content[system.name] = {"needles": rows, "grid": _grid(hits)}
    return {"systems": content}
