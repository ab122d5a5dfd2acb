"""Selection: which units are kept, which passages are returned, and the results for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from secateur.models.merging import PassageScores
from secateur.models.options import PruneOptions
from secateur.models.types import Passage, PassageResult, Unit, UnitScore, Usage

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SelectablePassage:
    """A passage, its position in the caller's list, its units with their tokens as int32[units], and its scores."""

    index: int
    passage: Passage
    units: Sequence[Unit]
    unit_tokens: NDArray[np.int32]
    scores: PassageScores


@dataclass(frozen=True, slots=True)
class Selection:
    """A passage that is returned, and its kept units as bool[units]."""

    scored: SelectablePassage
    kept: BoolArray

    @property
    def tokens(self) -> int:
        """Number of tokens of the kept units."""
        return int(self.scored.unit_tokens[self.kept].sum())


def _has_title_unit(scored: SelectablePassage) -> bool:
    """Whether the first of several units is a heading or repeats the passage's title."""
    if len(scored.units) < 2:
        return False
    first, title = scored.units[0], scored.passage.title
    text = scored.passage.text[first.start : first.end].strip()
    return first.kind == "heading" or (bool(title) and text.casefold() == (title or "").strip().casefold())


def _keep_units(scored: SelectablePassage, options: PruneOptions, threshold: float) -> BoolArray:
    scores = scored.scores.units
    kept: BoolArray = scores >= threshold
    if options.min_units > int(kept.sum()):
        kept[np.argsort(-scores, kind="stable")[: options.min_units]] = True
    return kept


def _fit_budget(selections: Sequence[Selection], budget: int, keep_title: bool) -> list[Selection]:
    """Keep the units with the highest scores over all passages whose tokens fit the budget.

    A unit that does not fit is skipped, and smaller ones after it may still fit. A title unit is counted together with
    the first other kept unit of its passage.
    """
    titled = [keep_title and _has_title_unit(s.scored) for s in selections]
    candidates = sorted(
        (-float(s.scored.scores.units[unit]), s.scored.index, int(unit), position)
        for position, s in enumerate(selections)
        for unit in np.flatnonzero(s.kept)
    )
    kept = [np.zeros_like(s.kept) for s in selections]
    for _, _, unit, position in candidates:
        needed = {0, unit} if titled[position] else {unit}
        new = [one for one in needed if not kept[position][one]]
        cost = int(selections[position].scored.unit_tokens[new].sum())
        if cost <= budget:
            budget -= cost
            kept[position][new] = True
    return [replace(s, kept=units) for s, units in zip(selections, kept, strict=True)]


def _by_relevance(selection: Selection) -> tuple[float, int]:
    return -selection.scored.scores.relevance, selection.scored.index


def select(scored: Sequence[SelectablePassage], options: PruneOptions, threshold: float) -> list[Selection]:
    """Choose what to return for one query.

    Units at or above the threshold are kept. Passages below ``min_score`` are dropped, then (with ``drop_empty``) those
    without a kept unit, then all but the ``top_n`` most relevant. The others share the token budget. Ties are broken by
    position. The selections come by falling relevance, or in the caller's order without ``reorder``.
    """
    chosen = [Selection(s, _keep_units(s, options, threshold)) for s in scored]
    if options.min_score is not None:
        chosen = [s for s in chosen if s.scored.scores.relevance >= options.min_score]
    if options.drop_empty:
        chosen = [s for s in chosen if s.kept.any()]
    if options.top_n is not None:
        chosen = sorted(sorted(chosen, key=_by_relevance)[: options.top_n], key=lambda s: s.scored.index)
    if options.max_tokens is not None:
        chosen = _fit_budget(chosen, options.max_tokens, options.keep_title)
        if options.drop_empty:
            chosen = [s for s in chosen if s.kept.any()]
    elif options.keep_title:
        for s in chosen:
            if s.kept.any() and _has_title_unit(s.scored):
                s.kept[0] = True
    return sorted(chosen, key=_by_relevance) if options.reorder else chosen


def kept_spans(text: str, units: Sequence[Unit], kept: BoolArray) -> tuple[tuple[int, int], ...]:
    """Return the spans of runs of kept units (kept: bool[units]), without the white space around each run."""
    spans: list[tuple[int, int]] = []
    for keep, run in groupby(zip(units, kept.tolist(), strict=True), key=itemgetter(1)):
        ends = [unit for unit, _ in run]
        start, end = ends[0].start, ends[-1].end
        if keep and (piece := text[start:end]).strip():
            spans.append((end - len(piece.lstrip()), start + len(piece.rstrip())))
    return tuple(spans)


def join_spans(text: str, spans: Sequence[tuple[int, int]], joiner: str) -> str:
    """Return the text of the spans, with the joiner in each gap."""
    return joiner.join(text[start:end] for start, end in spans)


def passage_result(selection: Selection, options: PruneOptions) -> PassageResult:
    """Return the result for a selected passage."""
    scored, kept = selection.scored, selection.kept
    passage = scored.passage
    spans = kept_spans(passage.text, scored.units, kept)
    units = None
    if options.return_units:
        units = tuple(
            UnitScore(unit.start, unit.end, unit.kind, float(score), bool(keep), int(tokens))
            for unit, score, keep, tokens in zip(
                scored.units, scored.scores.units, kept, scored.unit_tokens, strict=True
            )
        )
    return PassageResult(
        index=scored.index,
        id=passage.id,
        score=scored.scores.relevance,
        text=join_spans(passage.text, spans, options.joiner),
        spans=spans,
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
