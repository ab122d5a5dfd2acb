"""Small labelled sources, and a system whose scores the test sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from secateur.eval.systems.base import SegmentedPassage
from secateur.eval.units import Source, SourceBuilder
from secateur.labelled.examples import Example, LabelledPassage
from secateur.models.merging import PassageScores
from secateur.models.types import Passage

ANSWERED = "It rained. Anna won the race. Cats sleep."
SPAN = (ANSWERED.index("Anna"), ANSWERED.index("race.") + 5)


class KeywordSystem:
    """Scores a unit 0.9 when it holds the last word of the query, else 0.2; a passage by its best unit."""

    name = "keyword"
    threshold: float | None = 0.5

    def __init__(self, keyword: str = "race") -> None:
        self.keyword = keyword
        self.about = {"keyword": keyword}
        self.queries: list[str] = []

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        self.queries.append(query)
        found = []
        for p in passages:
            scores = np.array([0.9 if self.keyword in text else 0.2 for text in p.unit_texts])
            found.append(PassageScores(float(scores.max(initial=0.0)), scores))
        return found


def _answered(name: str, relevant: bool = True) -> Example:
    spans = (SPAN,) if relevant else ()
    return Example(
        name,
        "toy",
        "Who won the race?",
        (
            LabelledPassage(Passage(ANSWERED, "p", "Sports day"), spans, relevant),
            LabelledPassage(Passage("Bread is sold here. It is closed on Monday.", "n"), (), False),
        ),
    )


@pytest.fixture(scope="session")
def answered() -> Callable[..., Example]:
    """Make an example of a name, with an answer or (``relevant=False``) without one."""
    return _answered


@pytest.fixture
def keyword_system() -> type[KeywordSystem]:
    """The class of a system whose scores the test sets by a keyword."""
    return KeywordSystem


@pytest.fixture(scope="session")
def build() -> Callable[[str, Sequence[Example]], Source]:
    """Lay out examples as a source."""
    return SourceBuilder().build


def _write_source(directory: Path, name: str, relevant: bool, queries: int = 3) -> None:
    """Write a source in the project's schema."""
    lines = []
    for number in range(queries):
        example = _answered(str(number), relevant)
        passages = [
            {
                "id": p.passage.id,
                "title": p.passage.title,
                "text": p.passage.text,
                "relevant_spans": [list(span) for span in p.spans],
                "relevant": p.relevant,
            }
            for p in example.passages
        ]
        lines.append(json.dumps({"id": example.id, "query": example.query, "answers": ["Anna"], "passages": passages}))
    (directory / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def write_source() -> Callable[..., None]:
    """Write a source in the project's schema: directory, name, whether it has answers, number of queries."""
    return _write_source
