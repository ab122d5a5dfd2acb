from __future__ import annotations

import pytest

from secateur.eval.rag.judge import (
    exact_match,
    judge_messages,
    normalise,
    parse_verdict,
    token_f1,
)
from secateur.llm.endpoint import without_thoughts


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Eiffel-Tower!", "eiffeltower"),
        ("an apple, a day", "apple day"),
        ("Theatre", "theatre"),
        ("U.S.", "us"),
        ("the", ""),
        ("Zürich\n", "zürich"),
    ],
)
def test_normalisation_is_squads(text: str, normal: str) -> None:
    assert normalise(text) == normal


@pytest.mark.parametrize(
    ("answer", "gold", "match", "f1"),
    [
        ("The Broncos.", ["Denver Broncos", "broncos"], 1.0, 1.0),
        ("Denver Broncos", ["Broncos"], 0.0, 2 / 3),
        ("in the year 1889", ["1889"], 0.0, 0.5),
        ("dog dog", ["dog cat"], 0.0, 0.5),
        ("I do not know", ["Lima"], 0.0, 0.0),
        ("the", ["a"], 1.0, 1.0),
        ("the", ["x"], 0.0, 0.0),
    ],
)
def test_known_values(answer: str, gold: list[str], match: float, f1: float) -> None:
    assert exact_match(answer, gold) == match
    assert token_f1(answer, gold) == pytest.approx(f1)


@pytest.mark.parametrize(
    "reply",
    [
        "yes",
        "Yes.",
        "**Yes**",
        '"Yes"',
        "YES!",
        "- Yes",
        "Yes, there is no doubt.",
        "Yes\n\nBoth say 1889.",
        "Yes, no doubt.",
        "Yes it does.",
        "Verdict: yes",
        "The verdict is **yes**.",
        "Final answer: Yes, since both name Lima.",
        "Both name the same city.\n\nYes",
        "Yes or No: Yes",
        '{"verdict": "yes"}',
        "<think>No, wait. no</think>\nYes",
        "I think no at first </think> yes",
    ],
)
def test_yes(reply: str) -> None:
    assert parse_verdict(reply) is True


@pytest.mark.parametrize(
    "reply",
    [
        "no",
        "No.",
        "**No**, the year differs.",
        "No - the references say yes.",
        "No because it differs.",
        "Answer: no",
        "The candidate says yes. The reference says otherwise. No.",
        "Judgement: **No**\n\nIt names another city.",
    ],
)
def test_no(reply: str) -> None:
    assert parse_verdict(reply) is False


@pytest.mark.parametrize(
    "reply",
    [
        "maybe",
        "",
        "Yes or no?",
        "yes/no",
        "No way to tell from this.",
        "No-one can say.",
        "There is no reference.",
        "Yesterday",
        "I cannot judge this.",
        "Verdict: yes, or verdict: no, who knows",
        "<think>yes",
    ],
)
def test_neither(reply: str) -> None:
    assert parse_verdict(reply) is None


def test_thoughts_are_left_out() -> None:
    assert without_thoughts("<think>\nParis? No.\n</think>\n\nLima") == "Lima"
    assert without_thoughts("<think>I ran out of tok") == ""
    assert without_thoughts("a < b") == "a < b"


def test_the_judge_sees_question_references_and_candidate() -> None:
    messages = judge_messages("Who?", ["Anna", "Anna Lind"], "Bob")
    assert [message["role"] for message in messages] == ["system", "user"]
    for part in ("Question: Who?", "- Anna\n- Anna Lind", "Candidate answer:\nBob\n"):
        assert part in messages[1]["content"]
