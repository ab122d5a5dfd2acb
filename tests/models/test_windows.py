"""Windows hold every token of a passage, however long, and are cut between units."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from secateur.models.encoding import EncodedPassage, PairEncoder, plan_windows
from secateur.models.segmentation import segment
from secateur.models.types import Passage

UNIT_TOKENS = st.lists(st.integers(0, 60), max_size=40)


def plan(unit_tokens: list[int], room: int) -> list[tuple[int, int]]:
    return plan_windows(np.asarray(unit_tokens, dtype=np.int32), room)


@given(UNIT_TOKENS, st.integers(1, 100))
@example([], 10)
@example([0, 0], 10)
@example([300, *[1] * 100, 399], 400)
def test_windows_cover_all_tokens_and_each_brings_new_ones(unit_tokens: list[int], room: int) -> None:
    ranges = plan(unit_tokens, room)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == sum(unit_tokens)
    assert all(end - start <= room for start, end in ranges)
    for (start, end), (next_start, next_end) in pairwise(ranges):
        assert start < next_start <= end < next_end


@given(UNIT_TOKENS, st.integers(1, 100))
def test_windows_are_cut_between_units_unless_a_unit_is_longer(unit_tokens: list[int], room: int) -> None:
    bounds = np.concatenate([[0], np.cumsum(unit_tokens)])
    for cut in {cut for bounds_of in plan(unit_tokens, room) for cut in bounds_of} - set(bounds.tolist()):
        assert unit_tokens[int(np.searchsorted(bounds, cut)) - 1] > room


@given(UNIT_TOKENS, st.integers(1, 100))
def test_windows_repeat_at_most_a_quarter(unit_tokens: list[int], room: int) -> None:
    assert all(end - next_start <= room // 4 for (_, end), (next_start, _) in pairwise(plan(unit_tokens, room)))


def test_neighbouring_windows_share_units() -> None:
    assert plan([10] * 10, 40) == [(0, 40), (30, 70), (60, 100)]


def test_a_unit_longer_than_a_window_is_cut_inside() -> None:
    assert plan([100], 40) == [(0, 40), (30, 70), (60, 100)]
    assert plan([5, 50, 5], 40) == [(0, 5), (5, 45), (35, 60)]


def texts_of(encoded: EncodedPassage) -> list[list[int]]:
    return [
        window.ids[window.text_start : window.text_start + len(window.token_unit)].tolist()
        for window in encoded.windows
    ]


@pytest.mark.parametrize("title", [None, "A title"])
@given(
    pieces=st.lists(
        st.sampled_from(
            ["It rained. ", "Dr. Fox, who lives in a den, stayed in. ", "x\n\n", "漢字。", "é👍🏽 ", "word " * 70]
        ),
        max_size=20,
    )
)
def test_every_token_of_a_text_is_in_a_window(
    small_encoder: PairEncoder, tokenizer: Tokenizer, title: str | None, pieces: list[str]
) -> None:
    text = "".join(pieces)
    units = segment(Passage(text))
    query, _ = small_encoder.encode_query("who came")
    (encoded,) = small_encoder.encode(query, [Passage(text, title=title)], [units])
    (whole,) = PairEncoder(tokenizer, 1 << 20).encode(query, [Passage(text, title=title)], [units])
    (ids,) = texts_of(whole)
    room = 64 - encoded.windows[0].text_start - 1
    ranges = plan_windows(encoded.unit_tokens, room)
    assert texts_of(encoded) == [ids[start:end] for start, end in ranges]
    token_unit = whole.windows[0].token_unit.tolist()
    assert [window.token_unit.tolist() for window in encoded.windows] == [token_unit[s:e] for s, e in ranges]
    assert encoded.unit_tokens.tolist() == np.bincount(token_unit, minlength=len(units)).tolist()
    for window in encoded.windows:
        assert len(window) <= 64
        assert window.ids[: window.text_start].tolist() == encoded.windows[0].ids[: window.text_start].tolist()
        assert window.ids[-1] == small_encoder.template.suffix[-1]
