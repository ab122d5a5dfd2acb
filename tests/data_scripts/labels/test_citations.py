from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data_scripts.labels.labelling import NotLabelled, read_citations


@pytest.mark.parametrize(
    ("reply", "numbers"),
    [
        ("It was finished in 1889 [2].", (2,)),
        ("[1][3] both", (1, 3)),
        ("as [1, 2] and [5] say", (1, 2, 5)),
        ("as [1;2] says", (1, 2)),
        ("see [2-4]", (2, 3, 4)),
        ("see [2–4, 7]", (2, 3, 4, 7)),
        ("see [4-2]", (2, 3, 4)),
        ("see [1 to 3]", (1, 2, 3)),
        ("see [1..3]", (1, 2, 3)),
        ("see [1 and 3]", (1, 3)),
        ("see [Sentence 2]", (2,)),
        ("see [sentences 2, 3]", (2, 3)),
        ("see [#4]", (4,)),
        ("see [^4]", (4,)),
        ("see 【3】", (3,)),
        ("see ［3］", (3,)),
        ("see (3)", (3,)),
        ("It was built in 1889 (see the tower) [1]", (1,)),
        ("In (1889) it was built [1].", (1,)),
        ("1, 4", (1, 4)),
        ("2", (2,)),
        ("**[2]**", (2,)),
        ("[ 2 , 3 ]", (2, 3)),
        ("[2] [2] [2]", (2,)),
        ("[1 2 3]", (1, 2, 3)),
    ],
)
def test_citations_of_many_forms(reply: str, numbers: tuple[int, ...]) -> None:
    assert read_citations(reply, 9) == numbers


@pytest.mark.parametrize(
    "reply",
    [
        "No answer",
        "no answer.",
        "**No answer**",
        "Answer: No answer",
        "NO_ANSWER",
        "None",
        "[]",
        "Unanswerable.",
        "No answer. The passage is about cooking.",
        "No answer: sentence [3] only mentions the tower",
    ],
)
def test_no_answer(reply: str) -> None:
    assert read_citations(reply, 9) == ()


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("It was finished in March 1889.", "no_citation"),
        ("", "no_citation"),
        ("I have no answer for you but bread", "no_citation"),
        ("As [note] says", "no_citation"),
        ("It says so [99].", "bad_citation"),
        ("It says so [1][99].", "bad_citation"),
        ("It says so [0].", "bad_citation"),
        ("It says so [8-12].", "bad_citation"),
        ("It was built in 1889 (1889).", "bad_citation"),
    ],
)
def test_replies_that_cannot_be_used(reply: str, problem: str) -> None:
    assert read_citations(reply, 9) == NotLabelled(problem)


@pytest.mark.slow
@given(st.text(max_size=200), st.integers(1, 30))
def test_any_text_is_read(reply: str, count: int) -> None:
    cited = read_citations(reply, count)
    if not isinstance(cited, NotLabelled):
        assert all(1 <= number <= count for number in cited)
        assert list(cited) == sorted(set(cited))


@given(st.sets(st.integers(1, 30), min_size=1))
def test_every_way_to_list_says_the_same(numbers: set[int]) -> None:
    ordered = sorted(numbers)
    apart = "".join(f"[{number}]" for number in ordered)
    together = "[" + ", ".join(map(str, ordered)) + "]"
    assert read_citations(apart, 30) == read_citations(together, 30) == tuple(ordered)


@pytest.mark.slow
def test_a_huge_range_costs_nothing() -> None:
    assert read_citations("[1-9999]" * 1000, 5) == NotLabelled("bad_citation")


def test_a_long_reply_is_read_in_linear_time() -> None:
    assert read_citations("[1 " * 50_000, 5) == NotLabelled("no_citation")
