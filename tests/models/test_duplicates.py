"""Which texts say the same."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.models.duplicates import Duplicates, _shingles, _signature

LONG = (
    "The tower was finished in 1889 for a fair, stands by the river in the west of the city, and was for forty years"
    " the tallest building that anyone had ever built by hand."
)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (LONG, True),
        (LONG.upper().replace(",", " -"), True),
        (f"Indeed {LONG}", True),
        (LONG.replace("1889", "1890"), False),
        (LONG.replace("forty", "about forty").replace("the west", "a part").replace("by hand", ""), False),
        ("Something else stands by the river in 1889.", False),
    ],
)
def test_the_same_words_or_nearly_the_same_with_the_same_numbers(text: str, same: bool) -> None:
    seen = Duplicates()
    seen.add("Another text that has nothing to do with it.", "other")
    seen.add(LONG, "tower")
    assert seen.find(text) == ("tower" if same else None)


def test_a_short_text_is_no_duplicate() -> None:
    seen = Duplicates()
    for text in ("Yes.", "}", "", "It is."):
        seen.add(text, text)
        assert seen.find(text) is None


@given(st.lists(st.integers(0, 60), min_size=4, max_size=60), st.randoms())
def test_similar_texts_share_a_shingle_of_their_signatures(numbers: list[int], rng: random.Random) -> None:
    words = tuple(f"w{number}" for number in numbers)
    changed = list(words)
    changed[rng.randrange(len(changed))] = "other"
    one, two = _shingles(words), _shingles(tuple(changed))
    if len(one & two) >= 0.9 * len(one | two):
        assert set(_signature(one)) & set(_signature(two))


def test_many_similar_texts_are_found_one_by_one() -> None:
    seen = Duplicates()
    for number in range(3000):
        seen.add(f"Request {number} was answered by the same server within the time that was agreed.", number)
    assert seen.find("request 2999 was answered by the same server within the time that was agreed") == 2999
    assert seen.find("request 3000 was answered by the same server within the time that was agreed") is None
