from __future__ import annotations

import pytest

from secateur.data_scripts.near_duplicates import NearDuplicates
from secateur.models.errors import InputError

TEXT = " ".join(f"word{number}" for number in range(200))


def test_nearly_the_same_is_found_and_else_is_not() -> None:
    index = NearDuplicates(0.9)
    assert index.add("a", TEXT) == []
    assert index.add("b", TEXT.replace("word100", "other")) == ["a"]
    assert index.add("c", " ".join(reversed(TEXT.split()))) == []
    assert index.add("d", TEXT.upper(), unless_found=True) == ["a", "b"]
    assert index.add("e", TEXT) == ["a", "b"]


@pytest.mark.parametrize("text", ["", "!", "Yes", "Yes no", "\ud800", "漢字"])
def test_short_texts_match_themselves_only(text: str) -> None:
    index = NearDuplicates(1.0)
    assert index.add("long", TEXT) == []
    assert index.add("a", text) == []
    assert index.add("b", text) == ["a"]


def test_a_threshold_is_a_share() -> None:
    with pytest.raises(InputError, match="near_duplicates: 90"):
        NearDuplicates(90)
