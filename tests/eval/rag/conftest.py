"""A few questions to ask, and a server that answers them by what is in the prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import Loopback, chat_server, completion

UNKNOWN = "I do not know"

# (question, its answer, a sentence with the answer)
FACTS = [
    ("Who won the race?", "Anna Lind", "The race was won by Anna Lind."),
    ("When was the Eiffel Tower finished?", "1889", "The Eiffel Tower was finished in 1889."),
    ("What is the capital of Peru?", "Lima", "The capital of Peru is Lima."),
    ("Who wrote the novel Emma?", "Jane Austen", "The novel Emma was written by Jane Austen."),
]
BESIDE = "Bread needs flour and water. It is baked for an hour. The oven must be hot. Cats sleep most of the day."


def facts_line(number: int, question: str, answer: str, sentence: str, **changes: Any) -> str:
    passages = [{"title": "Bread", "text": BESIDE}, {"title": "Facts", "text": f"{BESIDE} {sentence} It often rains."}]
    row = {"id": str(number), "query": question, "passages": passages, "answers": [answer], **changes}
    return json.dumps(row) + "\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four questions that one of two passages answers, and one without an answer."""
    path = tmp_path / "facts.jsonl"
    lines = [facts_line(number, *fact) for number, fact in enumerate(FACTS)]
    path.write_text("".join(lines) + facts_line(9, "Why?", "", "", answers=[]), encoding="utf-8")
    return path


def honest(body: dict[str, Any]) -> dict[str, Any]:
    """Answer by the prompt alone: the gold answer when its sentence is shown; judge by equality."""
    prompt = body["messages"][-1]["content"]
    if "Candidate answer:" in prompt:
        right = any(f"- {answer}\n" in prompt and f"answer:\n{answer}\n" in prompt for _, answer, _ in FACTS)
        text = "Yes." if right else "**No**, it does not."
    else:
        fact = next(fact for fact in FACTS if fact[0] in prompt)
        text = fact[1] if fact[2] in prompt else UNKNOWN
    words = sum(len(message["content"].split()) for message in body["messages"])
    return completion(text, prompt_tokens=words, completion_tokens=len(text.split()))


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """A running server, honest until told otherwise."""
    with chat_server(lambda body, number: honest(body)) as server:
        yield server
