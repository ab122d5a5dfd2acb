"""A source laid out for measuring: all units of all passages of all queries in flat arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from secateur.eval.bootstrap import FloatArray
from secateur.eval.systems.base import BoolArray, SegmentedPassage
from secateur.labelled.examples import Example
from secateur.models.checkpoint import load_tokenizer, read_config, resolve
from secateur.models.encoding import PairEncoder
from secateur.models.segmentation import format_of, segment
from secateur.models.segmenters import get_segmenter

IntArray = NDArray[np.int64]

PROSE = "prose"
"""The group of sources that belong to no other."""


@dataclass(frozen=True, slots=True)
class Source:
    """The queries of a source, segmented once, so that every system scores the same units. Markup is no unit here.

    Attributes:
        name: Name in reports.
        examples: Queries with their labelled passages.
        segmented: Passages of each query with their units.
        characters: int64[units], length of each unit.
        tokens: int64[units], tokens of each unit.
        gold: bool[units], whether a relevant span covers some of what can be read of the unit.
        unit_passage: int64[units], passage of each unit, counted through the source.
        passage_query: int64[passages], query of each passage.
        relevant: bool[passages], whether the passage answers its query.
        group: Group in reports.
    """

    name: str
    examples: tuple[Example, ...]
    segmented: tuple[tuple[SegmentedPassage, ...], ...]
    characters: IntArray
    tokens: IntArray
    gold: BoolArray
    unit_passage: IntArray
    passage_query: IntArray
    relevant: BoolArray
    group: str = PROSE

    @property
    def by_line(self) -> bool:
        """Whether all passages are text by line."""
        return all(format_of(p.passage) == "lines" for row in self.segmented for p in row)

    @property
    def unit_query(self) -> IntArray:
        """int64[units], query of each unit."""
        return self.passage_query[self.unit_passage]

    def fingerprint(self) -> str:
        """Return a digest of everything that a system reads: queries, passages, units."""
        digest = hashlib.sha256()
        for example, passages in zip(self.examples, self.segmented, strict=True):
            parts = [example.id, example.query]
            for p in passages:
                ends = (f"{unit.end}{unit.hidden or ''}" for unit in p.units)
                parts += [p.passage.title or "", p.passage.text, ",".join(ends)]
            for part in parts:
                digest.update(part.encode("utf-8", "surrogatepass") + b"\x00")
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Scores:
    """Float64[units] and float64[passages], NaN where the system does not rank, and the seconds spent on scoring."""

    units: FloatArray
    relevance: FloatArray
    seconds: float = 0.0


class SourceBuilder:
    """Lays out sources, with or without titles, by segmenter and tokenizer of the shipped model for every system."""

    def __init__(self, *, titles: bool = True) -> None:
        shipped = resolve(None)
        self.segmenter = read_config(shipped).segmenter
        self._segment = get_segmenter(self.segmenter, shipped)
        self._encoder = PairEncoder(load_tokenizer(shipped), read_config(shipped).window)
        self._titles = titles

    def build(self, name: str, examples: Sequence[Example], group: str = PROSE) -> Source:
        """Segment examples and count the tokens of their units."""
        segmented: list[tuple[SegmentedPassage, ...]] = []
        gold: list[bool] = []
        tokens: list[IntArray] = [np.zeros(0, np.int64)]
        for example in examples:
            passages = [p.passage if self._titles else replace(p.passage, title=None) for p in example.passages]
            row = [SegmentedPassage.of(passage, segment(passage, self._segment)) for passage in passages]
            encoded = self._encoder.encode([], passages, [p.tiling for p in row])
            for labelled, p, windows in zip(example.passages, row, encoded, strict=True):
                gold += labelled.unit_labels(p.units)
                tokens.append(windows.unit_tokens[p.scored].astype(np.int64))
            segmented.append(tuple(row))
        every = [p for row in segmented for p in row]
        return Source(
            name=name,
            examples=tuple(examples),
            segmented=tuple(segmented),
            characters=np.array([u.end - u.start for p in every for u in p.units], dtype=np.int64),
            tokens=np.concatenate(tokens),
            gold=np.array(gold, dtype=bool),
            unit_passage=np.repeat(np.arange(len(every)), [len(p.units) for p in every]),
            passage_query=np.repeat(np.arange(len(segmented)), [len(row) for row in segmented]),
            relevant=np.array([p.relevant for e in examples for p in e.passages], dtype=bool),
            group=group,
        )
