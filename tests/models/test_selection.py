"""What is kept and returned, by scores that are given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.models.merging import PassageScores
from secateur.models.options import PruneOptions
from secateur.models.selection import SelectablePassage, Selection, passage_result, select
from secateur.models.types import Passage, Unit, UnitKind


def scored(
    scores: list[float],
    relevance: float = 0.4,
    index: int = 0,
    tokens: list[int] | None = None,
    first_kind: UnitKind = "sentence",
    needs: dict[int, tuple[int, ...]] | None = None,
    unreadable: bool = False,
) -> SelectablePassage:
    """A Markdown passage with a three-letter unit for each score; `needs` gives what units need by index."""
    text = "".join(f"u{number} " for number in range(len(scores)))
    units = [
        Unit(3 * n, 3 * n + 3, first_kind if n == 0 else "sentence", (needs or {}).get(n, ()))
        for n in range(len(scores))
    ]
    unit_tokens = np.asarray(tokens if tokens is not None else [1] * len(scores), dtype=np.int32)
    unit_scores = PassageScores(relevance, np.asarray(scores))
    return SelectablePassage(index, Passage(text), units, unit_tokens, unit_scores, "markdown", unreadable)


def of_texts(texts: list[str], scores: list[float], relevance: float = 0.4, index: int = 0) -> SelectablePassage:
    """A passage with a sentence for each text, of one token each."""
    ends = np.cumsum([len(text) for text in texts]).tolist()
    units = [Unit(end - len(text), end) for text, end in zip(texts, ends, strict=True)]
    unit_tokens = np.ones(len(texts), dtype=np.int32)
    return SelectablePassage(
        index, Passage("".join(texts)), units, unit_tokens, PassageScores(relevance, np.asarray(scores))
    )


def reasons(selection: Selection) -> dict[int, str]:
    return dict(sorted((selection.dropped | selection.reasons).items()))


def kept(selections: list[Selection]) -> list[list[int]]:
    return [np.flatnonzero(selection.kept).tolist() for selection in selections]


def order(selections: list[Selection]) -> list[int]:
    return [selection.scored.index for selection in selections]


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
    passages = [scored([0.1], 0.4, 0), scored([0.9], 0.2, 1)]
    assert order(select(passages, PruneOptions(), 0.5)) == [0, 1]
    assert order(select(passages, PruneOptions(drop_empty=True), 0.5)) == [1]
    assert order(select(passages, PruneOptions(drop_empty=True, top_n=1), 0.5)) == [1]


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


def test_passages_emptied_by_the_budget_are_dropped_where_asked() -> None:
    passages = [scored([0.6], 0.9, 0), scored([0.8], 0.1, 1)]
    assert order(select(passages, PruneOptions(max_tokens=1, drop_empty=True), 0.5)) == [1]


def test_what_a_unit_needs_is_kept_with_it_and_once() -> None:
    passage = scored([0.0, 0.0, 0.9, 0.1, 0.9], needs={1: (0,), 2: (1,), 3: (0,), 4: (1,)})
    (selection,) = select([passage], PruneOptions(), 0.5)
    assert reasons(selection) == {0: "structure", 1: "structure", 2: "score", 4: "score"}
    assert kept(select([passage], PruneOptions(keep_structure=False), 0.5)) == [[2, 4]]


def test_plain_text_keeps_no_structure_unless_asked() -> None:
    passage = replace(scored([0.0, 0.9], needs={1: (0,)}), format="text")
    assert kept(select([passage], PruneOptions(), 0.5)) == [[1]]
    assert kept(select([passage], PruneOptions(keep_structure=True), 0.5)) == [[0, 1]]


def test_structure_is_paid_for_with_the_first_unit_that_needs_it() -> None:
    passage = scored([0.0, 0.9, 0.8], tokens=[2, 3, 1], needs={1: (0,), 2: (0,)})
    assert kept(select([passage], PruneOptions(max_tokens=2), 0.5)) == [[]]
    assert kept(select([passage], PruneOptions(max_tokens=4), 0.5)) == [[0, 2]]
    assert kept(select([passage], PruneOptions(max_tokens=5), 0.5)) == [[0, 1]]
    assert kept(select([passage], PruneOptions(max_tokens=6), 0.5)) == [[0, 1, 2]]
    assert kept(select([passage], PruneOptions(max_tokens=4, keep_structure=False), 0.5)) == [[1, 2]]


def test_neighbours_stand_around_what_is_kept_by_score() -> None:
    passage = scored([0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1])
    (selection,) = select([passage], PruneOptions(neighbours=1, head=1), 0.5)
    assert reasons(selection) == {0: "head", 2: "neighbour", 3: "score", 4: "neighbour"}
    assert kept(select([passage], PruneOptions(neighbours=9), 0.5)) == [list(range(7))]


def test_head_and_tail_are_kept_whatever_their_scores() -> None:
    (selection,) = select([scored([0.1] * 5)], PruneOptions(head=1, tail=2), 0.5)
    assert reasons(selection) == {0: "head", 3: "tail", 4: "tail"}
    assert kept(select([scored([0.1] * 2)], PruneOptions(head=9, tail=9), 0.5)) == [[0, 1]]


def test_many_units_with_all_their_neighbours_take_a_moment() -> None:
    passage = scored([0.9, 0.1] * 20_000)
    assert select([passage], PruneOptions(neighbours=10**9), 0.5)[0].kept.all()


def test_many_gaps_within_a_budget_take_a_moment() -> None:
    passage = scored([0.9, 0.1] * 20_000)
    (selection,) = select([passage], PruneOptions(max_tokens=30_001, joiner=" … "), 0.5)
    # Each further unit costs itself and a gap.
    assert kept([selection]) == [list(range(0, 30_002, 2))]


def test_markup_is_neither_head_nor_neighbour_nor_best_unit() -> None:
    passage = scored([0.9, 0.1, 0.1], relevance=0.9, first_kind="markup")
    assert kept(select([passage], PruneOptions(), 0.5)) == [[1]]
    assert kept(select([passage], PruneOptions(head=1, neighbours=1), 0.5)) == [[1, 2]]


def test_a_relevant_passage_keeps_its_best_unit() -> None:
    (selection,) = select([scored([0.1, 0.3, 0.2], 0.5)], PruneOptions(), 0.5)
    assert reasons(selection) == {1: "relevant passage"}
    assert kept(select([scored([0.1, 0.3], 0.49)], PruneOptions(), 0.5)) == [[]]
    assert kept(select([scored([0.1, 0.3], 0.9)], PruneOptions(keep_relevant=False), 0.5)) == [[]]
    assert order(select([scored([0.1], 0.9)], PruneOptions(drop_empty=True), 0.5)) == [0]


def test_a_relevant_passage_is_more_than_a_heading() -> None:
    (selection,) = select([scored([0.9, 0.1, 0.3], 0.9, first_kind="heading")], PruneOptions(), 0.5)
    assert reasons(selection) == {0: "score", 2: "relevant passage"}
    assert kept(select([scored([0.1], 0.9, first_kind="heading")], PruneOptions(), 0.5)) == [[0]]


def section(scores: list[float], **more: Any) -> SelectablePassage:
    """A passage of a heading, what it heads, another heading with one unit below it, and a third without any."""
    passage = scored(scores, needs={1: (0,), 2: (0,), 4: (3,)}, **more)
    units = [unit._replace(kind="heading") if n in (0, 3, 5) else unit for n, unit in enumerate(passage.units)]
    return replace(passage, units=units)


def test_a_heading_kept_for_its_score_comes_with_the_best_unit_below_it() -> None:
    (selection,) = select([section([0.9, 0.1, 0.3, 0.1, 0.4, 0.9])], PruneOptions(), 0.5)
    assert reasons(selection) == {0: "score", 2: "structure", 5: "score"}
    (selection,) = select([section([0.9, 0.6, 0.3, 0.1, 0.1, 0.1])], PruneOptions(), 0.5)
    assert reasons(selection) == {0: "score", 1: "score"}
    options = PruneOptions(never_keep=("u2",))
    assert kept(select([section([0.9, 0.1, 0.3, 0.1, 0.4, 0.1])], options, 0.5)) == [[0, 1]]
    assert kept(select([section([0.9, 0.1, 0.3, 0.1, 0.4, 0.1])], PruneOptions(keep_structure=False), 0.5)) == [[0]]


def test_headings_alone_fill_no_budget() -> None:
    passage = section([0.3, 0.2, 0.1, 0.25, 0.24, 0.01], tokens=[1, 9, 2, 1, 9, 4])
    assert kept(select([passage], PruneOptions(max_tokens=2), 0.0)) == [[]]
    assert kept(select([passage], PruneOptions(max_tokens=3), 0.0)) == [[0, 2]]
    assert kept(select([passage], PruneOptions(compression=0.61), 0.0)) == [[0, 1]]


def test_the_work_can_be_stopped_at_every_step() -> None:
    class Stopped(Exception):
        pass

    def run(calls: int) -> int:
        seen = 0

        def watch(units: int) -> None:
            nonlocal seen
            seen += 1
            if seen > calls:
                raise Stopped

        select([scored([0.9] * 9)], PruneOptions(dedupe=True, never_keep=("x", "u3")), 0.5, watch=watch)
        return seen

    total = run(10**9)
    assert (
        total == 1 + 2 + 1 + 8 + 8
    )  # the passage, two entries, one match, eight possible duplicates, eight candidates
    for calls in range(total):
        with pytest.raises(Stopped):
            run(calls)


def test_a_passage_that_cannot_be_read_is_kept_whole() -> None:
    (selection,) = select([scored([0.1, 0.9], unreadable=True)], PruneOptions(), 0.5)
    assert reasons(selection) == {0: "unreadable", 1: "unreadable"}
    assert kept(select([scored([0.1, 0.9], unreadable=True)], PruneOptions(max_tokens=1), 0.5)) == [[1]]


def test_always_comes_before_score_and_never_before_always() -> None:
    passage = of_texts(["A needle. ", "Hay. ", "More hay. ", "Another needle."], [0.1, 0.9, 0.1, 0.1])
    (selection,) = select([passage], PruneOptions(always_keep=("needle",)), 0.5)
    assert reasons(selection) == {0: "always", 1: "score", 3: "always"}
    options = PruneOptions(always_keep=("needle",), never_keep=("re:^A |hay",))
    assert reasons(select([passage], options, 0.5)[0]) == {0: "never", 1: "score", 2: "never", 3: "always"}
    (selection,) = select([passage], PruneOptions(always_keep=("needle",), max_tokens=2), 0.5)
    assert reasons(selection) == {0: "always", 1: "budget", 3: "always"}
    (selection,) = select([passage], PruneOptions(always_keep=("needle",), max_tokens=1), 0.5)
    assert (reasons(selection), selection.missed) == ({0: "always", 1: "budget", 3: "budget"}, 1)


def test_what_is_never_kept_is_not_kept_as_structure_either() -> None:
    passage = scored([0.0, 0.9], needs={1: (0,)})
    assert kept(select([passage], PruneOptions(never_keep=("u0",)), 0.5)) == [[1]]


def test_what_a_more_relevant_passage_says_is_not_said_again() -> None:
    texts = ["The tower was finished in 1889. ", "It is tall."]
    passages = [of_texts(texts, [0.9, 0.9], 0.4, 0), of_texts(texts[:1], [0.6], 0.45, 1)]
    less, more = select(passages, PruneOptions(dedupe=True, reorder=False), 0.5)
    assert reasons(less) == {0: "duplicate", 1: "score"}
    assert reasons(more) == {0: "score"}
    assert kept(select(passages, PruneOptions(reorder=False), 0.5)) == [[0, 1], [0]]
    emptied = [of_texts(texts[:1], [0.9], 0.1, 0), passages[1]]
    assert order(select(emptied, PruneOptions(dedupe=True, drop_empty=True), 0.5)) == [1]


def test_a_duplicate_of_what_does_not_fit_is_dropped_for_the_budget() -> None:
    long = replace(of_texts(["The tower was finished in 1889."], [0.6], 0.45, 1), unit_tokens=np.asarray([9], np.int32))
    same = of_texts(["the tower was finished in 1889!"], [0.9], 0.4, 0)
    selections = select([same, long], PruneOptions(dedupe=True, max_tokens=5, reorder=False), 0.5)
    assert [reasons(selection) for selection in selections] == [{0: "budget"}, {0: "budget"}]


@pytest.mark.parametrize(("compression", "expected"), [(0, [0, 1, 2, 3]), (0.5, [1, 3]), (0.7, [1]), (1, [])])
def test_compression_keeps_a_share_of_the_tokens(compression: float, expected: list[int]) -> None:
    passage = scored([0.1, 0.9, 0.2, 0.8])
    assert kept(select([passage], PruneOptions(compression=compression), 0.0)) == [expected]


def test_a_marker_is_paid_for() -> None:
    passage = scored([0.9, 0.1, 0.8], tokens=[3, 3, 3])
    options = PruneOptions(gap_marker="[{units} units]")
    count = len  # each character a token

    def run(max_tokens: int) -> list[list[int]]:
        return kept(select([passage], replace(options, max_tokens=max_tokens), 0.5, count))

    # The text in the gap is " [1 units] ", with 11 tokens.
    assert [run(2), run(16), run(17)] == [[[]], [[0]], [[0, 2]]]
    (selection,) = select([passage], replace(options, max_tokens=17), 0.5, count)
    assert selection.tokens(options, count) == 17
    assert passage_result(selection, options).text == "u0 [1 units] u2"


PROBABILITY = st.floats(0, 1)
Rows = list[tuple[list[tuple[float, int]], float, UnitKind]]
ROWS = st.lists(
    st.tuples(
        st.lists(st.tuples(PROBABILITY, st.integers(0, 9)), min_size=1, max_size=6),
        PROBABILITY,
        st.sampled_from(["heading", "sentence", "markup"]),
    ),
    min_size=1,
    max_size=5,
)
OPTIONS = st.builds(
    PruneOptions,
    keep_structure=st.booleans(),
    neighbours=st.integers(0, 2),
    head=st.integers(0, 2),
    tail=st.integers(0, 2),
    always_keep=st.sampled_from([(), ("u2",), ("re:[13]",)]),
    never_keep=st.sampled_from([(), ("u0",), ("numbers",)]),
    dedupe=st.booleans(),
    joiner=st.sampled_from([" ", " … ", "\n"]),
    gap_marker=st.sampled_from([None, "[{units} units, {tokens} tokens]", "…"]),
    gap_marker_ends=st.booleans(),
    reorder=st.just(False),
)


def passages_of(rows: Rows) -> list[SelectablePassage]:
    """Passages in which every unit needs the first one, and the last one the one before it."""
    return [
        scored(
            [score for score, _ in units],
            relevance,
            index,
            [count for _, count in units],
            kind,
            {n: (0, n - 1) if n == len(units) - 1 else (0,) for n in range(1, len(units))},
        )
        for index, (units, relevance, kind) in enumerate(rows)
    ]


def words(text: str) -> int:
    return len(text.split())


@given(ROWS, st.integers(1, 40), OPTIONS)
def test_the_budget_is_never_exceeded(rows: Rows, budget: int, options: PruneOptions) -> None:
    passages = passages_of(rows)
    limited = select(passages, replace(options, max_tokens=budget), 0.3, words)
    unlimited = select(passages, options, 0.3, words)
    spent = sum(selection.tokens(options, words) for selection in limited)
    assert spent <= budget
    for within, free in zip(limited, unlimited, strict=True):
        assert not (within.kept & ~free.kept).any()
        assert within.reasons.keys().isdisjoint(within.dropped)
        if options.keep_structure:
            units = within.scored.units
            needed = {one for index in within.reasons for one in units[index].needs}
            assert needed - within.reasons.keys() <= {i for i, why in within.dropped.items() if why == "never"}
    if (
        options.gap_marker is None
        and not options.joiner.strip()
        and sum(one.tokens(options, words) for one in unlimited) <= budget
    ):
        assert kept(limited) == kept(unlimited)


@given(ROWS, st.integers(1, 5))
def test_top_n_changes_nothing_in_what_is_returned(rows: Rows, top_n: int) -> None:
    passages = passages_of(rows)
    every = select(passages, PruneOptions(), 0.3)
    some = select(passages, PruneOptions(top_n=top_n), 0.3)
    assert order(some) == order(every)[:top_n]
    assert kept(some) == kept(every)[:top_n]
