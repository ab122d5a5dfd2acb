"""What is kept and returned, by scores that are given."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.models.merging import PassageScores
from secateur.models.options import PruneOptions
from secateur.models.selection import SelectablePassage, Selection, join_spans, kept_spans, select
from secateur.models.types import Passage, Unit, UnitKind

PIECES = st.sampled_from(["One. ", "two\n\n", "  three ", "漢字。", "👩\u200d👧 ", "\n ", "e\u0301. ", "\u00a0x\u2003"])


def scored(
    scores: list[float],
    relevance: float = 0.5,
    index: int = 0,
    tokens: list[int] | None = None,
    first_kind: UnitKind = "sentence",
    title: str | None = None,
) -> SelectablePassage:
    """A passage with a three-letter unit for each score."""
    text = "".join(f"u{number} " for number in range(len(scores)))
    units = [Unit(3 * n, 3 * n + 3, first_kind if n == 0 else "sentence") for n in range(len(scores))]
    unit_tokens = np.asarray(tokens if tokens is not None else [1] * len(scores), dtype=np.int32)
    passage = Passage(text, title=title)
    return SelectablePassage(index, passage, units, unit_tokens, PassageScores(relevance, np.asarray(scores)))


def kept(selections: list[Selection]) -> list[list[int]]:
    return [np.flatnonzero(selection.kept).tolist() for selection in selections]


def order(selections: list[Selection]) -> list[int]:
    return [selection.scored.index for selection in selections]


@given(st.lists(st.tuples(PIECES, st.booleans()), max_size=20), st.sampled_from(["", " ", " […] "]))
def test_kept_text_is_slices_of_the_original(pieces: list[tuple[str, bool]], joiner: str) -> None:
    text = "".join(piece for piece, _ in pieces)
    ends = np.cumsum([len(piece) for piece, _ in pieces]).tolist()
    units = [Unit(end - len(piece), end) for end, (piece, _) in zip(ends, pieces, strict=True)]
    keep = np.asarray([flag for _, flag in pieces], dtype=bool)
    spans = kept_spans(text, units, keep)
    assert join_spans(text, spans, joiner) == joiner.join(text[start:end] for start, end in spans)
    assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)
    assert all(end < next_start for (_, end), (next_start, _) in pairwise(spans))
    inside = {position for start, end in spans for position in range(start, end)}
    for unit, flag in zip(units, keep, strict=True):
        content = {p for p in range(unit.start, unit.end) if not text[p].isspace()}
        assert content <= inside if flag else not content & inside


def test_neighbours_keep_the_white_space_between_them() -> None:
    text = "One.\n\nTwo.  Three."
    units = [Unit(0, 6), Unit(6, 12), Unit(12, 18)]
    spans = kept_spans(text, units, np.asarray([True, True, False]))
    assert spans == ((0, 10),)
    assert join_spans(text, kept_spans(text, units, np.asarray([True, False, True])), " … ") == "One. … Three."


def test_a_unit_at_the_threshold_is_kept() -> None:
    assert kept(select([scored([0.4, 0.5, 0.6])], PruneOptions(), 0.5)) == [[1, 2]]


@pytest.mark.parametrize(("threshold", "expected"), [(0.0, [0, 1, 2]), (1.0, [2])])
def test_the_extreme_thresholds(threshold: float, expected: list[int]) -> None:
    assert kept(select([scored([0.0, 0.5, 1.0])], PruneOptions(), threshold)) == [expected]


def test_a_passage_below_the_bar_is_empty() -> None:
    assert kept(select([scored([0.1, 0.2])], PruneOptions(), 0.5)) == [[]]


def test_min_units_are_the_best_and_ties_break_by_position() -> None:
    options = PruneOptions(min_units=2)
    assert kept(select([scored([0.1, 0.3, 0.1, 0.1])], options, 0.5)) == [[0, 1]]
    assert kept(select([scored([0.9, 0.8, 0.7])], options, 0.5)) == [[0, 1, 2]]
    assert kept(select([scored([0.1])], options, 0.5)) == [[0]]


def test_passages_come_by_relevance_and_ties_by_position() -> None:
    passages = [scored([0.9], relevance, index) for index, relevance in enumerate([0.2, 0.7, 0.2, 0.9])]
    assert order(select(passages, PruneOptions(), 0.5)) == [3, 1, 0, 2]
    assert order(select(passages, PruneOptions(reorder=False), 0.5)) == [0, 1, 2, 3]


def test_top_n_are_the_most_relevant_and_ties_break_by_position() -> None:
    passages = [scored([0.9], relevance, index) for index, relevance in enumerate([0.2, 0.7, 0.2, 0.9])]
    assert order(select(passages, PruneOptions(top_n=3), 0.5)) == [3, 1, 0]
    assert order(select(passages, PruneOptions(top_n=3, reorder=False), 0.5)) == [0, 1, 3]
    assert len(select(passages, PruneOptions(top_n=9), 0.5)) == 4


def test_min_score_is_a_least_relevance() -> None:
    passages = [scored([0.9], relevance, index) for index, relevance in enumerate([0.2, 0.5, 0.9])]
    assert order(select(passages, PruneOptions(min_score=0.5), 0.5)) == [2, 1]


def test_empty_passages_are_dropped_where_asked_and_take_no_place_among_the_top() -> None:
    passages = [scored([0.1], 0.9, 0), scored([0.9], 0.2, 1)]
    assert order(select(passages, PruneOptions(), 0.5)) == [0, 1]
    assert order(select(passages, PruneOptions(drop_empty=True), 0.5)) == [1]
    assert order(select(passages, PruneOptions(drop_empty=True, top_n=1), 0.5)) == [1]


def test_a_heading_is_kept_with_its_passage() -> None:
    heading = scored([0.0, 0.1, 0.9], first_kind="heading")
    assert kept(select([heading], PruneOptions(), 0.5)) == [[0, 2]]
    assert kept(select([heading], PruneOptions(keep_title=False), 0.5)) == [[2]]


def test_a_first_unit_that_repeats_the_title_is_kept_with_its_passage() -> None:
    assert kept(select([scored([0.0, 0.9], title=" U0")], PruneOptions(), 0.5)) == [[0, 1]]
    assert kept(select([scored([0.0, 0.9], title="Other")], PruneOptions(), 0.5)) == [[1]]


def test_a_title_is_not_kept_alone() -> None:
    assert kept(select([scored([0.0, 0.1], first_kind="heading")], PruneOptions(), 0.5)) == [[]]
    assert kept(select([scored([0.0], first_kind="heading")], PruneOptions(), 0.5)) == [[]]


def test_the_budget_goes_to_the_best_units_of_all_passages() -> None:
    passages = [scored([0.6, 0.9], 0.9, 0), scored([0.8, 0.7], 0.1, 1)]
    assert kept(select(passages, PruneOptions(max_tokens=1), 0.5)) == [[1], []]
    assert kept(select(passages, PruneOptions(max_tokens=2), 0.5)) == [[1], [0]]
    assert kept(select(passages, PruneOptions(max_tokens=3), 0.5)) == [[1], [0, 1]]
    assert kept(select(passages, PruneOptions(max_tokens=4), 0.5)) == [[0, 1], [0, 1]]


def test_a_unit_too_long_for_the_budget_makes_way_for_a_shorter_one() -> None:
    assert kept(select([scored([0.9, 0.6], tokens=[10, 3])], PruneOptions(max_tokens=5), 0.5)) == [[1]]


def test_equal_units_share_the_budget_by_position() -> None:
    passages = [scored([0.9, 0.9], 0.1, 0), scored([0.9, 0.9], 0.9, 1)]
    assert kept(select(passages, PruneOptions(max_tokens=3, reorder=False), 0.5)) == [[0, 1], [0]]


def test_a_title_is_paid_for_with_the_first_unit() -> None:
    passage = scored([0.0, 0.9, 0.8], tokens=[2, 3, 1], first_kind="heading")
    assert kept(select([passage], PruneOptions(max_tokens=4), 0.5)) == [[0, 2]]
    assert kept(select([passage], PruneOptions(max_tokens=5), 0.5)) == [[0, 1]]
    assert kept(select([passage], PruneOptions(max_tokens=6), 0.5)) == [[0, 1, 2]]
    assert kept(select([passage], PruneOptions(max_tokens=2), 0.5)) == [[]]
    assert kept(select([passage], PruneOptions(max_tokens=4, keep_title=False), 0.5)) == [[1, 2]]


def test_passages_emptied_by_the_budget_are_dropped_where_asked() -> None:
    passages = [scored([0.6], 0.9, 0), scored([0.8], 0.1, 1)]
    assert order(select(passages, PruneOptions(max_tokens=1, drop_empty=True), 0.5)) == [1]


PROBABILITY = st.floats(0, 1)
Rows = list[tuple[list[tuple[float, int]], float, UnitKind]]
ROWS = st.lists(
    st.tuples(
        st.lists(st.tuples(PROBABILITY, st.integers(0, 9)), min_size=1, max_size=6),
        PROBABILITY,
        st.sampled_from(["heading", "sentence"]),
    ),
    min_size=1,
    max_size=5,
)


@given(ROWS, st.integers(1, 40), st.booleans())
def test_the_budget_is_never_exceeded(rows: Rows, budget: int, keep_title: bool) -> None:
    passages = [
        scored([score for score, _ in units], relevance, index, [count for _, count in units], kind)
        for index, (units, relevance, kind) in enumerate(rows)
    ]
    options = PruneOptions(max_tokens=budget, keep_title=keep_title, reorder=False)
    within = select(passages, options, 0.3)
    free = select(passages, PruneOptions(keep_title=keep_title, reorder=False), 0.3)
    assert sum(selection.tokens for selection in within) <= budget
    for limited, unlimited in zip(within, free, strict=True):
        assert not (limited.kept & ~unlimited.kept).any()
    if sum(selection.tokens for selection in free) <= budget:
        assert kept(within) == kept(free)


@given(ROWS, st.integers(1, 5))
def test_top_n_changes_nothing_in_what_is_returned(rows: Rows, top_n: int) -> None:
    passages = [
        scored([score for score, _ in units], relevance, index, None, kind)
        for index, (units, relevance, kind) in enumerate(rows)
    ]
    every = select(passages, PruneOptions(), 0.3)
    some = select(passages, PruneOptions(top_n=top_n), 0.3)
    assert order(some) == order(every)[:top_n]
    assert kept(some) == kept(every)[:top_n]
