"""Selection: which units are kept and why, which passages are returned, and the results for them.

The kept set depends on nothing but scores and options. For each passage there are candidates, each with its reason.
Those of all passages are taken in one order until the token budget is full, each with the structure around it:

1. `always`: units that match `always_keep`.
2. `head` and `tail`.
3. `score`: units at or above the threshold, the `min_units` best, the best of a `relevant passage`, and all units of
   a passage that the model cannot read.
4. `neighbour`: units next to those.

Within a step the higher score comes first, then the earlier position. A heading that is kept for its score alone comes
with the best unit below it as its structure, so that it is not bare.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from secateur.models.duplicates import Duplicates
from secateur.models.kept_text import BoolArray, KeptText, largest_gap
from secateur.models.merging import PassageScores
from secateur.models.options import PruneOptions
from secateur.models.patterns import matching_units
from secateur.models.types import DropReason, Passage, PassageResult, Reason, Unit, UnitScore, Usage

Watch = Callable[[int], None]
"""Called with 0 often; it may raise to stop the work."""

RELEVANT = 0.5
"""Relevance from which a passage never comes back empty or as bare headings; see the option `keep_relevant`."""

_STEPS: dict[Reason, int] = {"always": 0, "head": 1, "tail": 1, "neighbour": 3}


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
        unreadable: Whether the model cannot read the passage or the query, so that the scores mean nothing.
    """

    index: int
    passage: Passage
    units: Sequence[Unit]
    unit_tokens: NDArray[np.int32]
    scores: PassageScores
    format: str = "text"
    unreadable: bool = False

    def text_of(self, index: int) -> str:
        """Return the text of a unit."""
        unit = self.units[index]
        return self.passage.text[unit.start : unit.end]


@dataclass(slots=True)
class Selection:
    """A passage that is returned.

    Attributes:
        scored: The passage.
        reasons: Why each kept unit is kept, by its index.
        dropped: Why units are dropped that would be kept by their score, by index.
        missed: Number of units of `always_keep` that did not fit the budget.
    """

    scored: SelectablePassage
    reasons: dict[int, Reason] = field(default_factory=dict)
    dropped: dict[int, DropReason] = field(default_factory=dict)
    missed: int = 0

    @property
    def kept(self) -> BoolArray:
        """bool[units], whether each unit is kept."""
        kept = np.zeros(len(self.scored.units), dtype=bool)
        kept[list(self.reasons)] = True
        return kept

    def kept_text(self, options: PruneOptions) -> KeptText:
        """Return what is kept of the passage's text."""
        scored = self.scored
        return KeptText(scored.passage.text, scored.units, scored.unit_tokens, self.kept, options, scored.format)

    def tokens(self, options: PruneOptions, count: Callable[[str], int]) -> int:
        """Return the number of tokens of the kept units and of the text in the gaps between them."""
        return int(self.scored.unit_tokens[self.kept].sum()) + self.kept_text(options).gap_tokens(count)


@dataclass(slots=True)
class _Candidates:
    """Units of a passage to keep if they fit: why each one, the best first; and those that are dropped in any case."""

    scored: SelectablePassage
    reasons: dict[int, Reason]
    never: set[int]
    duplicates: dict[int, tuple[int, int]] = field(default_factory=dict)  # place of the passage and unit said before


def _chosen_by_score(
    scored: SelectablePassage, readable: Sequence[int], options: PruneOptions, threshold: float
) -> dict[int, Reason]:
    scores = scored.scores.units
    ranked = sorted(readable, key=lambda index: (-float(scores[index]), index))
    chosen: dict[int, Reason] = {
        index: "score" for place, index in enumerate(ranked) if scores[index] >= threshold or place < options.min_units
    }
    content = [index for index in ranked if scored.units[index].kind != "heading"]
    if options.keep_relevant and scored.scores.relevance >= RELEVANT and chosen.keys().isdisjoint(content):
        chosen |= dict.fromkeys((content or ranked)[:1], "relevant passage")
    return chosen


def _candidates(scored: SelectablePassage, options: PruneOptions, threshold: float, watch: Watch) -> _Candidates:
    watch(0)
    units, text = scored.units, scored.passage.text
    never = matching_units(text, units, options.never_keep, watch)
    if scored.unreadable:
        return _Candidates(scored, {i: "unreadable" for i in range(len(units)) if i not in never}, never)
    readable = [index for index, unit in enumerate(units) if unit.kind != "markup" and index not in never]
    always = sorted(matching_units(text, units, options.always_keep, watch) - never)
    found: dict[int, Reason] = dict.fromkeys(always, "always")
    ends: dict[int, Reason] = dict.fromkeys(readable[: options.head], "head")
    ends |= dict.fromkeys(readable[max(0, len(readable) - options.tail) :] if options.tail else [], "tail")
    chosen = _chosen_by_score(scored, readable, options, threshold)
    found = chosen | ends | found
    allowed = set(readable)
    reached = 0
    for index in sorted({*always, *chosen}):
        first, reached = max(reached, index - options.neighbours), min(len(units), index + options.neighbours + 1)
        for near in range(first, reached):
            if near in allowed:
                found.setdefault(near, "neighbour")
    return _Candidates(scored, found, never)


def _drop_duplicates(candidates: Sequence[_Candidates], watch: Watch) -> None:
    """Take from the candidates what a more relevant passage already says."""
    seen = Duplicates()
    order = sorted(range(len(candidates)), key=lambda place: _by_relevance(candidates[place].scored))
    for place in order:
        one = candidates[place]
        for index in sorted(one.reasons):
            watch(0)
            said = seen.find(one.scored.text_of(index))
            if said is not None:
                one.duplicates[index] = said  # type: ignore[assignment]
                del one.reasons[index]
        for index in sorted(one.reasons):
            seen.add(one.scored.text_of(index), (place, index))


def with_structure(units: Sequence[Unit], index: int, known: Container[int] = ()) -> list[int]:
    """Return a unit and those that it needs, and that these need, without the ones that are known."""
    found = [index] if index not in known else []
    seen = {index}
    for one in found:
        new = [needed for needed in dict.fromkeys(units[one].needs) if needed not in seen and needed not in known]
        seen.update(new)
        found += new
    return found


def _below(units: Sequence[Unit], heading: int) -> Iterator[int]:
    """Yield the units of the section that a heading begins: up to the next heading that does not need it."""
    inside = {heading}
    for index in range(heading + 1, len(units)):
        if units[index].kind == "heading":
            if inside.isdisjoint(units[index].needs):
                return
            inside.add(index)
        elif units[index].kind != "markup":
            yield index


def _keeps_structure(scored: SelectablePassage, options: PruneOptions) -> bool:
    return scored.format != "text" if options.keep_structure is None else options.keep_structure


class _Gaps:
    """Number of gaps between the kept units of a passage, with those at the ends if they are marked."""

    def __init__(self, units: int, options: PruneOptions) -> None:
        self._kept = bytearray(units + 2)  # with one on each side that is never kept
        self._runs = 0
        self._ends = bool(options.gap_marker_ends and options.gap_marker)

    def flip(self, units: Sequence[int]) -> int:
        """Keep units that are not kept, or drop kept ones; return by how much the number of gaps changes."""
        before = self._count()
        for unit in units:
            sign = -1 if self._kept[unit + 1] else 1
            self._kept[unit + 1] ^= 1
            self._runs += sign * (1 - self._kept[unit] - self._kept[unit + 2])
        return self._count() - before

    def _count(self) -> int:
        ends = 2 - self._kept[1] - self._kept[-2] if self._ends else 0
        return self._runs - 1 + ends if self._runs else 0


class _Budget:
    """Keeps candidates in order, each with the structure around it, as long as they fit.

    One that does not fit is skipped, and smaller ones after it may still fit. A gap counts as much as the longest one
    of its passage, so that what is kept can only be smaller.
    """

    def __init__(
        self,
        candidates: Sequence[_Candidates],
        options: PruneOptions,
        limit: int | None,
        count: Callable[[str], int],
        watch: Watch,
    ) -> None:
        self._candidates, self._options, self._limit, self._count = candidates, options, limit, count
        self._watch = watch
        self.selections = [Selection(one.scored, dropped=dict.fromkeys(one.never, "never")) for one in candidates]
        self._taken: list[tuple[int, list[int], int]] = []  # passage, units and tokens

    def _gap(self, scored: SelectablePassage) -> int:
        longest = largest_gap(scored.passage.text, scored.units, scored.unit_tokens, self._options)
        return self._count(longest) if self._limit is not None and longest else 0

    def fill(self) -> list[Selection]:
        """Return what is kept of each passage."""
        queue = sorted(
            (_STEPS.get(reason, 2), -float(one.scored.scores.units[index]), one.scored.index, index, place)
            for place, one in enumerate(self._candidates)
            for index, reason in one.reasons.items()
        )
        gap_tokens = [self._gap(one.scored) for one in self._candidates]
        gaps = [_Gaps(len(one.scored.units), self._options) for one in self._candidates]
        left = self._limit
        for *_, index, place in queue:
            self._watch(0)
            one, selection = self._candidates[place], self.selections[place]
            new = self._with_structure(one, index, selection.reasons)
            cost = 0
            if left is not None:
                cost = int(one.scored.unit_tokens[new].sum()) + gap_tokens[place] * gaps[place].flip(new)
                if cost > left:
                    gaps[place].flip(new)
                    continue
                left -= cost
            selection.reasons |= {unit: one.reasons.get(unit, "structure") for unit in new}
            self._taken.append((place, new, cost))
        if any(gap_tokens):
            self._take_back()
        self._explain()
        return self.selections

    def _with_structure(self, one: _Candidates, index: int, kept: Container[int]) -> list[int]:
        """Return a candidate with what it needs, without what is kept already."""
        units, scores = one.scored.units, one.scored.scores.units
        new = [index]
        if _keeps_structure(one.scored, self._options):
            new = with_structure(units, index, kept)
            if new and units[index].kind == "heading" and one.reasons[index] == "score":
                below = [unit for unit in _below(units, index) if unit not in one.never and unit not in one.duplicates]
                rank = {unit: (unit in one.reasons, float(scores[unit]), -unit) for unit in below}
                best = max(below, key=rank.__getitem__, default=index)
                new += [unit for unit in with_structure(units, best, kept) if unit not in new]
        return [unit for unit in new if unit not in one.never and unit not in kept]

    def _take_back(self) -> None:
        """Take back what came last while it is over the budget: a marker may have more tokens than a longer one."""
        assert self._limit is not None
        spent = [selection.tokens(self._options, self._count) for selection in self.selections]
        while (excess := sum(spent) - self._limit) > 0:
            places = set()
            while excess > 0 and self._taken:
                place, units, cost = self._taken.pop()
                for unit in units:
                    del self.selections[place].reasons[unit]
                places.add(place)
                excess -= max(1, cost)
            for place in places:
                spent[place] = self.selections[place].tokens(self._options, self._count)

    def _explain(self) -> None:
        for one, selection in zip(self._candidates, self.selections, strict=True):
            for index, reason in one.reasons.items():
                if index not in selection.reasons:
                    selection.dropped[index] = "budget"
                    selection.missed += reason == "always"
            for index, (place, said) in one.duplicates.items():
                if index not in selection.reasons:
                    selection.dropped[index] = "duplicate" if said in self.selections[place].reasons else "budget"


def _by_relevance(scored: SelectablePassage) -> tuple[float, int]:
    return -scored.scores.relevance, scored.index


def select(
    scored: Sequence[SelectablePassage],
    options: PruneOptions,
    threshold: float,
    count: Callable[[str], int] = lambda text: len(text.split()),
    watch: Watch = lambda units: None,
) -> list[Selection]:
    """Choose what to return for one query.

    Passages below ``min_score`` are dropped, then (with ``drop_empty``) those without a candidate, then all but the
    ``top_n`` most relevant. The others share the token budget, which covers all that is returned: units, the structure
    around them, joiners and markers. The selections come by falling relevance, or in the caller's order without
    ``reorder``.

    Args:
        scored: Passages with their scores.
        options: Checked options.
        threshold: Lowest score of a unit that is kept.
        count: Counts the tokens of a text.
        watch: Called with 0 often; it may raise to stop the work.
    """
    limit = options.max_tokens
    if options.compression is not None:
        read = sum(int(one.unit_tokens.sum()) for one in scored)
        limit = int((1 - options.compression) * read + 1e-6)
    found = [_candidates(one, options, threshold, watch) for one in scored]
    if options.min_score is not None:
        found = [one for one in found if one.scored.scores.relevance >= options.min_score]
    if options.dedupe:
        _drop_duplicates(found, watch)
    if options.drop_empty:
        found = [one for one in found if one.reasons]
    if options.top_n is not None:
        best = sorted(found, key=lambda one: _by_relevance(one.scored))[: options.top_n]
        found = sorted(best, key=lambda one: one.scored.index)
    chosen = _Budget(found, options, limit, count, watch).fill()
    if options.drop_empty:
        chosen = [selection for selection in chosen if selection.reasons]
    return sorted(chosen, key=lambda selection: _by_relevance(selection.scored)) if options.reorder else chosen


def passage_result(selection: Selection, options: PruneOptions) -> PassageResult:
    """Return the result for a selected passage."""
    scored, kept = selection.scored, selection.kept
    passage, kept_text = scored.passage, selection.kept_text(options)
    units = None
    if options.return_units:
        reasons = selection.dropped | selection.reasons
        units = tuple(
            UnitScore(unit.start, unit.end, unit.kind, float(score), bool(kept[index]), reasons.get(index), int(tokens))
            for index, (unit, score, tokens) in enumerate(
                zip(scored.units, scored.scores.units, scored.unit_tokens, strict=True)
            )
        )
    return PassageResult(
        index=scored.index,
        id=passage.id,
        score=scored.scores.relevance,
        text=kept_text.text,
        spans=kept_text.spans,
        line_spans=kept_text.line_spans,
        format=scored.format,
        kept_units=int(kept.sum()),
        total_units=len(scored.units),
        empty=not kept_text.spans,
        metadata=passage.metadata,
        units=units,
    )


def usage_of(
    query_tokens: int,
    scored: Sequence[SelectablePassage],
    selections: Sequence[Selection],
    options: PruneOptions,
    count: Callable[[str], int],
) -> Usage:
    """Count the tokens of a request: of the query, of all passages, and of what is returned."""
    read = sum(int(passage.unit_tokens.sum()) for passage in scored)
    kept = sum(selection.tokens(options, count) for selection in selections)
    return Usage(query_tokens, read, kept, compression=max(0.0, 1 - kept / read) if read else 0.0)
