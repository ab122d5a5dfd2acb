"""The text that is returned: exact slices of the passage, line spans, and what stands in the gaps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joined_spans import join_spans

from secateur.models.errors import InputError
from secateur.models.kept_text import KeptText, check_gap_marker
from secateur.models.options import PruneOptions
from secateur.models.types import Unit, UnitKind

PIECES = st.sampled_from(["One. ", "two\n\n", "  three ", "漢字。", "👩\u200d👧 ", "\n ", "e\u0301. ", "\u00a0x\u2003"])


def kept_text(pieces: list[tuple[str, bool]], kinds: dict[int, UnitKind] | None = None, **options: object) -> KeptText:
    """What is kept of pieces of text, each a unit of two tokens with whether it is kept."""
    ends = np.cumsum([len(piece) for piece, _ in pieces], dtype=int).tolist()
    units = [
        Unit(end - len(piece), end, (kinds or {}).get(n, "sentence"))
        for n, (end, (piece, _)) in enumerate(zip(ends, pieces, strict=True))
    ]
    keep = np.asarray([flag for _, flag in pieces], dtype=bool)
    tokens = np.full(len(pieces), 2, np.int32)
    return KeptText("".join(piece for piece, _ in pieces), units, tokens, keep, PruneOptions(**options))  # type: ignore[arg-type]


@given(st.lists(st.tuples(PIECES, st.booleans()), max_size=20), st.sampled_from(["", " ", " […] ", "\n"]))
def test_kept_text_is_slices_of_the_original(pieces: list[tuple[str, bool]], joiner: str) -> None:
    text = "".join(piece for piece, _ in pieces)
    found = kept_text(pieces, joiner=joiner)
    spans = found.spans
    assert found.text == join_spans(text, spans, joiner)
    assert all(text[start:end].strip() and text[start:end] == text[start:end].rstrip() for start, end in spans)
    assert all(end < next_start for (_, end), (next_start, _) in pairwise(spans))
    inside = {position for start, end in spans for position in range(start, end)}
    start = 0
    for piece, flag in pieces:
        content = {p for p in range(start, start + len(piece)) if not text[p].isspace()}
        assert content <= inside if flag else not content & inside
        start += len(piece)
    for (first, last), (start, end) in zip(found.line_spans, spans, strict=True):
        assert first == text.count("\n", 0, start) + 1
        assert last == text.count("\n", 0, end) + 1


def test_neighbours_keep_the_white_space_between_them() -> None:
    assert kept_text([("One.\n\n", True), ("Two.  ", True), ("Three.", False)]).text == "One.\n\nTwo."
    assert kept_text([("One. ", True), ("Two.  ", False), ("Three.", True)], joiner=" … ").text == "One. … Three."


def test_what_begins_a_line_begins_one_again_with_its_indentation() -> None:
    found = kept_text([("a:\n", True), ("  - b\n", False), ("  - c\n", True)])
    assert found.text == "a:\n  - c"
    assert found.line_spans == ((1, 1), (3, 3))


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_lines_are_counted_for_every_line_break(line_break: str) -> None:
    found = kept_text([(f"a{line_break}", False), (f"b{line_break}c{line_break}", True), ("d", True)])
    assert found.line_spans == ((2, 4),)


MARKER = "[… {lines} lines, {units} units, {tokens} tokens, {characters} characters: {first_line} to {last_line}]"


def test_a_marker_says_what_is_missing() -> None:
    found = kept_text([("a\n", True), ("bb\n", False), ("ccc\n", False), ("d\n", True)], gap_marker=MARKER)
    assert found.text == "a\n[… 2 lines, 2 units, 4 tokens, 6 characters: 2 to 3]\nd"
    assert found.gap_tokens(len) == len("\n[… 2 lines, 2 units, 4 tokens, 6 characters: 2 to 3]\n")


def test_a_marker_in_a_line_stands_between_joiners() -> None:
    found = kept_text([("One. ", True), ("Two. ", False), ("Three.", True)], gap_marker="[{units}]", joiner=" | ")
    assert found.text == "One. | [1] | Three."


def test_markers_stand_at_the_ends_if_asked() -> None:
    pieces = [("a\n", False), ("b\n", True), ("c\n", False)]
    assert kept_text(pieces, gap_marker="[{first_line}]", gap_marker_ends=True).text == "[1]\nb\n[3]"
    assert kept_text(pieces, gap_marker="[{first_line}]").text == "b"
    assert kept_text([("a\n", False)], gap_marker="x", gap_marker_ends=True).text == ""


def test_markup_alone_is_not_marked() -> None:
    pieces = [("a", True), ("<br>", False), ("b", True)]
    assert kept_text(pieces, {1: "markup"}, gap_marker="[gap]").text == "a b"


def test_other_braces_are_text_and_an_unknown_field_is_refused() -> None:
    check_gap_marker("{…} { lines } {}")
    with pytest.raises(InputError, match=r"gap_marker: .*\{line\}.*\{lines\}"):
        check_gap_marker("{line}")
