"""The types of requests and results: passages and units, scores and pruned passages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from secateur.models.options import PruneOptions

UnitKind = Literal[
    "sentence", "heading", "list_item", "table_header", "table_row", "code", "line", "quote", "entry", "markup"
]


Reason = Literal["score", "always", "head", "tail", "neighbour", "structure", "relevant passage", "unreadable"]
"""Why a unit is kept.

`structure` is what a kept unit needs to be read. `relevant passage` is the best unit of a passage from which nothing
else would be kept. `unreadable` is a passage that is returned whole, since the model cannot read it or the query.
"""
DropReason = Literal["never", "duplicate", "budget"]
"""Why a unit is dropped: it matches `never_keep`, or `dedupe` or the token budget drop it in spite of its score."""


class Unit(NamedTuple):
    """A piece of a passage that is kept or dropped: code points ``[start, end)`` of the text.

    Attributes:
        start: Start offset.
        end: End offset, exclusive.
        kind: Kind of the unit.
        needs: Indexes of the units without which this one does not read: its heading, the header row of its table, the
            sentence that introduces its list, the signature and the fences around its code.
        hidden: Code points inside the unit that the network does not read: markup, and data that says nothing.
    """

    start: int
    end: int
    kind: UnitKind = "sentence"
    needs: tuple[int, ...] = ()
    hidden: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved passage.

    Args:
        text: Text to prune; offsets in results are code points of this string.
        id: Id of the passage, returned unchanged.
        title: Context that the model reads before the text; never part of the pruned text.
        format: Format of the text, which decides how it is segmented; `auto` for the one that fits.
        metadata: Arbitrary metadata, returned unchanged.
    """

    text: str
    id: str | int | None = None
    title: str | None = None
    format: str = "auto"
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """A query with its passages and options, for `Pruner.prune_many`."""

    query: str
    passages: tuple[Passage, ...]
    options: PruneOptions = field(default_factory=PruneOptions)


@dataclass(frozen=True, slots=True)
class UnitScore:
    """A unit with its score, and whether and why it is kept.

    Attributes:
        start: Start offset.
        end: End offset, exclusive.
        kind: Kind of the unit.
        score: Mean keep probability of its tokens, in [0, 1].
        kept: Whether it is kept.
        reason: Why it is kept or dropped; None if its score is too low.
        tokens: Number of its tokens.
    """

    start: int
    end: int
    kind: UnitKind
    score: float
    kept: bool
    reason: Reason | DropReason | None = None
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class PassageResult:
    """A pruned passage.

    Attributes:
        index: Position in the caller's list of passages.
        id: Id of the passage in the request.
        score: Relevance of the passage to the query, in [0, 1].
        text: Kept spans of the original text, joined by the joiner.
        spans: Kept spans ``(start, end)`` in code points of the original text, ascending and non-overlapping.
        line_spans: First and last line of each span, counted from 1.
        format: Format by which the text was cut.
        kept_units: Number of kept units.
        total_units: Number of units of the passage.
        empty: Whether no unit was kept.
        metadata: Metadata of the passage in the request.
        units: Every unit with its score, if requested by ``return_units``.
    """

    index: int
    id: str | int | None
    score: float
    text: str
    spans: tuple[tuple[int, int], ...]
    line_spans: tuple[tuple[int, int], ...]
    format: str
    kept_units: int
    total_units: int
    empty: bool
    metadata: Mapping[str, Any] | None = None
    units: tuple[UnitScore, ...] | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts by the model's tokenizer, without special tokens and titles.

    Attributes:
        query_tokens: Tokens of the query.
        input_tokens: Tokens of the texts of all passages.
        output_tokens: Tokens of the kept units of the returned passages and of the text in their gaps.
        compression: Share of input tokens that were dropped, in [0, 1].
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
    """Result of `Pruner.prune`.

    Attributes:
        results: Passages by falling score, or in the caller's order.
        threshold: Keep threshold that was used: given, of the target recall, or the model's own.
        usage: Token counts.
        timings: Durations.
        warnings: Changes that were made to the request.
    """

    results: tuple[PassageResult, ...]
    threshold: float
    usage: Usage
    timings: Timings
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The texts of all non-empty results, separated by blank lines."""
        return "\n\n".join(result.text for result in self.results if not result.empty)
