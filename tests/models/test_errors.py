"""How values are shown in errors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.models.errors import shown


class Counted:
    """Counts how often it is shown."""

    count = 0

    def __repr__(self) -> str:
        Counted.count += 1
        return "x"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "None"),
        ("it's", '"it\'s"'),
        (1.5, "1.5"),
        ([1, ["b"]], "[1, ['b']]"),
        ({"a": {"b": []}}, "{'a': {'b': []}}"),
        ((1,), "(1,)"),
        ({}, "{}"),
    ],
)
def test_a_short_value_is_shown_as_it_is(value: object, expected: str) -> None:
    assert shown(value) == expected


ANY = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@pytest.mark.slow
@given(value=ANY, limit=st.integers(10, 100))
def test_it_is_never_longer_than_the_limit(value: Any, limit: int) -> None:
    assert len(shown(value, limit)) <= limit


@pytest.mark.parametrize(
    "large", [[Counted()] * 100_000, {n: Counted() for n in range(100_000)}, [[[Counted()] * 99] * 99]]
)
def test_a_large_value_is_not_written_whole(large: object) -> None:
    Counted.count = 0
    assert len(shown(large)) <= 60
    assert Counted.count < 1000


def test_the_begin_of_a_long_value_is_shown() -> None:
    assert shown("abc" * 100_000).startswith("'abcabc")
    assert shown(["abc" * 100_000]).startswith("['abcabc")
    assert shown(10**4000).startswith("1000")
