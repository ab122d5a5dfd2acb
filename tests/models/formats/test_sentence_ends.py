"""Sentence ends by rule. A ``|`` in a case is where a unit ends."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.models.formats import sentence_ends
from secateur.models.formats.sentence_ends import corrected_ends
from secateur.models.segmentation import segment
from secateur.models.types import Passage

CASES = {
    "citation marks": [
        "The tower opened in 1889.[3] |It was tall.",
        "It was tall.[5][6] |It fell.",
        "It was tall. [4] |It fell.",
        "It was tall.[4-6] |It fell.",
        "It was tall.[citation needed] |It fell.",
        "It was tall.[^4] |It fell.",
        "It was tall.[[5]](http://x.org/a.b) |It fell.",
        "It was tall.(4) |It fell.",
        "He died in 1932.⁴ |It was cold.",
        "Smith et al.[3] showed it. |It was cold.",
    ],
    "other scripts": [
        "यह पहला है। |यह दूसरा है।",
        "یہ پہلا ہے۔ |یہ دوسرا ہے۔",
        "هل هذا؟ |نعم هذا.",
        "ပထမ။ |ဒုတိယ။",
        "አንድ ነው። |ሁለት ነው።",
        "Առաջին։ |Երկրորդ։",
        "មួយ។ |ពីរ។",
        "གཅིག། |གཉིས།",
        "これは３．１４です．|次の文．",
        "Τι είναι; |Είναι αυτό.",
        "Τι είναι\u037e |Είναι αυτό.",
    ],
    "no space": [
        "The tower was finished in 1889.|It is tall. |Then it rained.",
        "It cost $5.|It was cheap.",
        "See www.Example.Com now. |Version 1.2.Beta is out.",
        "Both foo.bar.Baz and example.Com are fine.",
        "Node.js is fine. |So is example.com/A.B here.",
    ],
    "letters": [
        "We have size M. |Order one today.",
        "Take vitamin C. |Take it daily.",
        "In the U.S.A. |Sales fell by 3%.",
        "The U.S. Government said no. |He left.",
        "He met J. Smith. |It ended.",
    ],
    "numbers": [
        "Das Treffen ist am 3. Mai in Berlin. |Danach essen wir.",
        "Der 2. Weltkrieg endete 1945. |Es war Mai.",
        "I am 3. |She is 4.",
        "It is on page 3. |Main results follow.",
        "2.5. Why is it slow? |It is old.",
        "Dies gilt z.B. hier. |Und dort.",
    ],
    "tokens": [
        "See ![Board](a.png) for it. |Then go.",
        "Use click.confirm('Do you want to continue?'): it asks. |Then go.",
        'He said "Go!" and left. |She asked "Why?" |He went.',
    ],
    "prose, not lists": [
        "as shown by the physicist\nJ. Smith in a paper on it",
        "he went reluctantly\n— to defuse the bomb",
        "it was on November\n11. It had rained.",
        "M. Dupont est arrivé. |Il a mangé.",
    ],
    "lists": [
        "We need\n|1. flour and water",
        "We need:\n|7. flour and water",
        "Some things\n|9. nine\n|10. ten",
        "Some things\n|a. nine\n|b. ten",
        "Some things\n|I. nine\n|II. ten",
        "Some things\n|— nine\n|— ten",
        "Some things\n|c) nine",
    ],
}


@pytest.mark.parametrize("case", [case for cases in CASES.values() for case in cases])
def test_units_end_where_a_reader_would_end_them(case: str) -> None:
    text = case.replace("|", "")
    assert [text[unit.start : unit.end] for unit in segment(Passage(text, format="text"))] == case.split("|")


@pytest.mark.parametrize("lines", [cases for name, cases in CASES.items() if "list" in name])
def test_only_list_items_are_list_items(lines: list[str]) -> None:
    kinds = {unit.kind for case in lines for unit in segment(Passage(case.replace("|", ""), format="text"))[1:]}
    assert kinds <= {"list_item", "sentence"}
    assert ("list_item" in kinds) == ("|1. flour" in lines[0])


PIECES = [
    "a",
    "A",
    "1",
    ".",
    "!",
    "?",
    " ",
    "\n",
    "[3]",
    "[[1]](",
    ")",
    "'",
    '"',
    "z.B. ",
    "U.S.A. ",
    "size M. ",
    "。",
    "।",
    ";",
]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join), st.data())
def test_ends_are_ascending_and_inside(text: str, data: st.DataObject) -> None:
    ends = data.draw(st.lists(st.integers(1, max(1, len(text))), unique=True).map(sorted))
    found = corrected_ends(text, [end for end in ends if end <= len(text)])
    assert found == sorted(set(found))
    assert all(0 < end <= len(text) for end in found)


@pytest.mark.parametrize("piece", ["A.", "a.", "'", ".[", ".[3]", "a.A ", "1.", ".[a", ".(1)", "; Α", "."])
def test_time_is_linear(piece: str) -> None:
    def seconds(count: int) -> float:
        text = piece * count
        started = time.process_time()
        corrected_ends(text, range(1, len(text), 7))
        return time.process_time() - started

    short = min(seconds(4_000) for _ in range(3))
    assert seconds(40_000) < 40 * short + 0.5


@given(
    st.lists(
        st.sampled_from(
            [*"aZ3 .!?…:;\n\"')]([¶", " :issue:`1`", "²", "[3]", "A.", "α", "Β", "。", "：", "日", "។", "．"]
        )
    ).map("".join)
)
def test_a_text_without_a_stop_has_no_end_by_rule(text: str) -> None:
    """What the shortcut leaves out, checked against the rules."""
    found = corrected_ends(text, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentence_ends, "_MAY_END", re.compile(""))
        assert corrected_ends(text, []) == found
