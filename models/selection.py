"""Selection: which units are kept, which passages are returned, and the results for them."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from secateur.models.merging import PassageScores
from secateur.models.options import PruneOptions
from secateur.models.types import Passage, PassageResult, Reason, Unit, UnitScore, Usage

BoolArray = NDArray[np.bool_]
_LINE_BREAK = re.compile(r"\r\n?|\n")


@dataclass(frozen=True, slots=True)
class SelectablePassage:
    """A passage with everything that selection needs.

    Attributes:
        index: Position in the caller's list.
        passage: The passage.
        units: Its units.
        unit_tokens: int32[units], number of tokens of each unit.
        scores: Scores of the passage and its units.
        format: Format by which it was cut.
    """

    index: int
    passage: Passage
    units: Sequence[Unit]
    unit_tokens: NDArray[np.int32]
    scores: PassageScores
    format: str = "text"


@dataclass(frozen=True, slots=True)
class Selection:
    """A passage that is returned.

    Attributes:
        scored: The passage.
        reasons: Why each kept unit is kept, by its index.
    """

    scored: SelectablePassage
    reasons: dict[int, Reason]

    @property
    def kept(self) -> BoolArray:
        """bool[units], whether each unit is kept."""
        kept = np.zeros(len(self.scored.units), dtype=bool)
        kept[list(self.reasons)] = True
        return kept

    @property
    def tokens(self) -> int:
        """Number of tokens of the kept units."""
        return int(self.scored.unit_tokens[self.kept].sum())


def _candidates(scored: SelectablePassage, options: PruneOptions, threshold: float) -> dict[int, Reason]:
    """Return the units to keep if they fit, without the structure around them, the most important first.

    Units at the head and the tail come first, then those with the highest scores, then their neighbours.
    """
    count = len(scored.units)
    readable = [index for index, unit in enumerate(scored.units) if unit.kind != "markup"]
    found: dict[int, Reason] = dict.fromkeys(readable[: options.head], "head")
    found |= dict.fromkeys(readable[max(0, len(readable) - options.tail) :] if options.tail else [], "tail")
    scores = scored.scores.units
    ranked = sorted(readable, key=lambda index: (-float(scores[index]), index))
    chosen = [index for place, index in enumerate(ranked) if scores[index] >= threshold or place < options.min_units]
    for index in chosen:
        found.setdefault(index, "score")
    for index in chosen:
        for near in range(max(0, index - options.neighbours), min(count, index + options.neighbours + 1)):
            if scored.units[near].kind != "markup":
                found.setdefault(near, "neighbour")
    return found


def with_structure(units: Sequence[Unit], index: int, known: Container[int] = ()) -> list[int]:
    """Return a unit and those that it needs, and that these need, without the ones that are known."""
    found = [index] if index not in known else []
    seen = {index}
    for one in found:
        new = [needed for needed in units[one].needs if needed not in seen and needed not in known]
        seen.update(new)
        found += new
    return found


def _keeps_structure(scored: SelectablePassage, options: PruneOptions) -> bool:
    return scored.format != "text" if options.keep_structure is None else options.keep_structure


def _fit(
    scored: Sequence[SelectablePassage], candidates: Sequence[dict[int, Reason]], options: PruneOptions
) -> list[Selection]:
    """Keep the candidates that fit the budget, each with the structure around it.

    The candidates of all passages come in one order: head and tail, by score, neighbours; ties by position. One
    that does not fit is skipped, and smaller ones after it may still fit.
    """
    order: dict[Reason, int] = {"head": 0, "tail": 0, "score": 1}
    queue = sorted(
        (order.get(reason, 2), -float(one.scores.units[index]), one.index, index, place)
        for place, (one, found) in enumerate(zip(scored, candidates, strict=True))
        for index, reason in found.items()
    )
    left = options.max_tokens
    kept: list[dict[int, Reason]] = [{} for _ in scored]
    for *_, index, place in queue:
        one = scored[place]
        new = with_structure(one.units, index, kept[place]) if _keeps_structure(one, options) else [index]
        cost = int(one.unit_tokens[new].sum())
        if left is not None:
            if cost > left:
                continue
            left -= cost
        kept[place] |= {unit: candidates[place].get(unit, "structure") for unit in new}
    return [Selection(one, reasons) for one, reasons in zip(scored, kept, strict=True)]


def _by_relevance(scored: SelectablePassage) -> tuple[float, int]:
    return -scored.scores.relevance, scored.index


def select(scored: Sequence[SelectablePassage], options: PruneOptions, threshold: float) -> list[Selection]:
    """Choose what to return for one query.

    Units at or above the threshold are kept. Passages below ``min_score`` are dropped, then (with ``drop_empty``) those
    without a kept unit, then all but the ``top_n`` most relevant. The others share the token budget. Ties are broken by
    position. The selections come by falling relevance, or in the caller's order without ``reorder``.
    """
    found = [(one, _candidates(one, options, threshold)) for one in scored]
    if options.min_score is not None:
        found = [pair for pair in found if pair[0].scores.relevance >= options.min_score]
    if options.drop_empty:
        found = [pair for pair in found if pair[1]]
    if options.top_n is not None:
        found = sorted(
            sorted(found, key=lambda pair: _by_relevance(pair[0]))[: options.top_n], key=lambda p: p[0].index
        )
    chosen = _fit([one for one, _ in found], [candidates for _, candidates in found], options)
    if options.drop_empty:
        chosen = [selection for selection in chosen if selection.reasons]
    return sorted(chosen, key=lambda selection: _by_relevance(selection.scored)) if options.reorder else chosen


def _begins_line(text: str, start: int) -> int | None:
    """Return where the line of a position begins, if there is only white space before it; else None."""
    while start and text[start - 1] in " \t":
        start -= 1
    return start if not start or text[start - 1] in "\r\n" else None


def kept_spans(text: str, units: Sequence[Unit], kept: BoolArray) -> tuple[tuple[int, int], ...]:
    """Return the spans of runs of kept units (kept: bool[units]), without the white space around each run.

    The indentation of a run that begins a line is part of its span.
    """
    spans: list[tuple[int, int]] = []
    for keep, run in groupby(zip(units, kept.tolist(), strict=True), key=itemgetter(1)):
        ends = [unit for unit, _ in run]
        first, end = ends[0].start, ends[-1].end
        if keep and (piece := text[first:end]).strip():
            start = end - len(piece.lstrip())
            line = _begins_line(text, start)
            spans.append((start if line is None else max(first, line), first + len(piece.rstrip())))
    return tuple(spans)


def line_spans(text: str, spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the first and the last line of each span, counted from 1."""
    breaks = [match.end() for match in _LINE_BREAK.finditer(text)]
    return tuple((bisect_right(breaks, start) + 1, bisect_left(breaks, end) + 1) for start, end in spans)


def join_spans(text: str, spans: Sequence[tuple[int, int]], joiner: str) -> str:
    """Return the text of the spans, with the joiner in each gap; a span that began a line begins one again."""
    pieces = []
    for start, end in spans:
        if pieces:
            on_line = "\n" in joiner or _begins_line(text, start) is None
            pieces.append(joiner if on_line else joiner.rstrip(" ") + "\n")
        pieces.append(text[start:end])
    return "".join(pieces)


def passage_result(selection: Selection, options: PruneOptions) -> PassageResult:
    """Return the result for a selected passage."""
    scored, kept = selection.scored, selection.kept
    passage = scored.passage
    spans = kept_spans(passage.text, scored.units, kept)
    units = None
    if options.return_units:
        units = tuple(
            UnitScore(unit.start, unit.end, unit.kind, float(score), selection.reasons.get(index), int(tokens))
            for index, (unit, score, tokens) in enumerate(
                zip(scored.units, scored.scores.units, scored.unit_tokens, strict=True)
            )
        )
    return PassageResult(
        index=scored.index,
        id=passage.id,
        score=scored.scores.relevance,
        text=join_spans(passage.text, spans, options.joiner),
        spans=spans,
        line_spans=line_spans(passage.text, spans),
        format=scored.format,
        kept_units=int(kept.sum()),
        total_units=len(scored.units),
        empty=not spans,
        metadata=passage.metadata,
        units=units,
    )


def usage_of(query_tokens: int, scored: Sequence[SelectablePassage], selections: Sequence[Selection]) -> Usage:
    """Count the tokens of a request: of the query, of all passages, and of the kept units."""
    read = sum(int(passage.unit_tokens.sum()) for passage in scored)
    kept = sum(selection.tokens for selection in selections)
    return Usage(query_tokens, read, kept, compression=1 - kept / read if read else 0.0)
