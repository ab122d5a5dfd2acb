"""The values that flow through a pruner: passages and units in, scores and pruned passages out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from secateur.models.options import PruneOptions

UnitKind = Literal["sentence", "heading", "list_item"]


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a passage that is kept or dropped as a whole: code-point span ``[start, end)`` of the text."""

    start: int
    end: int
    kind: UnitKind = "sentence"


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved passage.

    Args:
        text: what is pruned; result offsets are code points of this string.
        id: the caller's name for it, returned unchanged.
        title: read by the model as context, never part of the pruned text.
        format: how to segment the text.
        metadata: returned unchanged.
    """

    text: str
    id: str | int | None = None
    title: str | None = None
    format: str = "text"
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """One query with its passages and options, for `Pruner.prune_many`."""

    query: str
    passages: tuple[Passage, ...]
    options: PruneOptions = field(default_factory=PruneOptions)


@dataclass(frozen=True, slots=True)
class UnitScore:
    """A unit with its keep probability: ``score`` in [0, 1], the mean over its ``tokens``."""

    start: int
    end: int
    kind: UnitKind
    score: float
    kept: bool
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class PassageResult:
    """A pruned passage.

    Attributes:
        index: position in the caller's list of passages.
        id: the caller's id.
        score: relevance of the passage to the query, in [0, 1].
        text: the kept spans of the original text, joined by the joiner.
        spans: kept spans ``(start, end)``, code points of the original text, ascending, apart.
        kept_units: number of units kept.
        total_units: number of units of the passage.
        empty: no unit was kept.
        metadata: the caller's metadata.
        units: every unit with its score, when asked for.
    """

    index: int
    id: str | int | None
    score: float
    text: str
    spans: tuple[tuple[int, int], ...]
    kept_units: int
    total_units: int
    empty: bool
    metadata: Mapping[str, Any] | None = None
    units: tuple[UnitScore, ...] | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts by the model's tokenizer, special tokens and titles apart.

    Attributes:
        query_tokens: tokens of the query.
        input_tokens: tokens of all passages' texts.
        output_tokens: tokens of the units that were kept in the returned passages.
        compression: share of input tokens dropped, in [0, 1].
    """

    query_tokens: int
    input_tokens: int
    output_tokens: int
    compression: float


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations in milliseconds."""

    queue_ms: float
    tokenize_ms: float
    inference_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What `Pruner.prune` returns.

    Attributes:
        results: passages by falling score, or in the caller's order.
        threshold: that was used: the one given, that of the target recall, or the model's own.
        usage: what it cost in tokens.
        timings: what it cost in time.
        warnings: what had to be changed.
    """

    results: tuple[PassageResult, ...]
    threshold: float
    usage: Usage
    timings: Timings
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The texts of all non-empty results, apart by a blank line."""
        return "\n\n".join(result.text for result in self.results if not result.empty)
