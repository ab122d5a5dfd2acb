"""A source laid out for measuring: all units of all passages of all queries in flat arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from secateur.eval.systems.base import SegmentedPassage
from secateur.labelled.examples import Example
from secateur.models.encoding import token_units
from secateur.models.merging import PassageScores
from secateur.models.segmentation import segment
from secateur.models.segmenters import Segmenter

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Source:
    """A source's queries, segmented once, so that every system scores the same units.

    Attributes:
        name: as reports say it.
        examples: its queries with their labelled passages.
        segmented: for each query its passages with their units.
        characters: int64[units], length of each unit.
        tokens: int64[units], tokens of each unit.
        gold: bool[units], whether the unit overlaps a relevant span.
        unit_passage: int64[units], each unit's passage, counted through the source.
        passage_query: int64[passages], each passage's query.
        relevant: bool[passages], whether the passage answers its query.
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

    @property
    def unit_query(self) -> IntArray:
        """int64[units], each unit's query."""
        return self.passage_query[self.unit_passage]

    def fingerprint(self) -> str:
        """Return a digest of all that a system sees: queries, passages, units."""
        digest = hashlib.sha256()
        for example, passages in zip(self.examples, self.segmented, strict=True):
            parts = [example.id, example.query]
            for p in passages:
                ends = ",".join(str(unit.end) for unit in p.units)
                parts += [p.passage.title or "", p.passage.text, ends]
            for part in parts:
                digest.update(part.encode("utf-8", "surrogatepass") + b"\x00")
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Scores:
    """One system's scores of a source.

    Attributes:
        units: float64[units].
        relevance: float64[passages]; NaN where the system does not rank.
    """

    units: FloatArray
    relevance: FloatArray

    @classmethod
    def of(cls, queries: Sequence[Sequence[PassageScores]]) -> Scores:
        """Flatten what a system returned query by query."""
        passages = [passage for query in queries for passage in query]
        units = [np.asarray(p.units, dtype=np.float64) for p in passages]
        return cls(
            np.concatenate(units) if units else np.zeros(0),
            np.array([p.relevance for p in passages], dtype=np.float64),
        )


class SourceBuilder:
    """Segments and counts examples.

    Args:
        segmenter: sentence segmenter.
        tokenizer: counts tokens.
        titles: show the passages' titles to the systems.
    """

    def __init__(self, segmenter: Segmenter, tokenizer: Tokenizer, *, titles: bool = True) -> None:
        self._segmenter = segmenter
        self._tokenizer = tokenizer
        self._titles = titles

    def build(self, name: str, examples: Sequence[Example]) -> Source:
        """Lay out a source."""
        segmented: list[tuple[SegmentedPassage, ...]] = []
        characters: list[int] = []
        tokens: list[IntArray] = []
        gold: list[bool] = []
        units_of_passage: list[int] = []
        passage_query: list[int] = []
        for number, example in enumerate(examples):
            row = []
            encodings = self._tokenizer.encode_batch(
                [p.passage.text for p in example.passages], add_special_tokens=False
            )
            for labelled, encoding in zip(example.passages, encodings, strict=True):
                passage = labelled.passage if self._titles else replace(labelled.passage, title=None)
                units = tuple(segment(passage, self._segmenter))
                row.append(SegmentedPassage(passage, units))
                characters += [unit.end - unit.start for unit in units]
                gold += labelled.unit_labels(units)
                if units:
                    offsets = np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)
                    owners = token_units(offsets, passage.text, units)
                    tokens.append(np.bincount(owners, minlength=len(units)).astype(np.int64))
                units_of_passage.append(len(units))
                passage_query.append(number)
            segmented.append(tuple(row))
        return Source(
            name=name,
            examples=tuple(examples),
            segmented=tuple(segmented),
            characters=np.array(characters, dtype=np.int64),
            tokens=np.concatenate(tokens) if tokens else np.zeros(0, np.int64),
            gold=np.array(gold, dtype=bool),
            unit_passage=np.repeat(np.arange(len(units_of_passage)), units_of_passage),
            passage_query=np.array(passage_query, dtype=np.int64),
            relevant=np.array([p.relevant for e in examples for p in e.passages], dtype=bool),
        )
