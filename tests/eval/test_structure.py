"""The rules of `eval.structure`, on passages whose needs are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from secateur.eval.quality import Measured, measure
from secateur.eval.structure import needed_units, still_reads, structure_summary
from secateur.eval.systems.base import SegmentedPassage
from secateur.eval.units import Source
from secateur.labelled.examples import Example, LabelledPassage
from secateur.models.merging import PassageScores
from secateur.models.segmentation import segment
from secateur.models.types import Passage

Build = Callable[[str, Sequence[Example]], Source]

MARKDOWN = """# Race

## Places

| name | place |
| --- | --- |
| Anna | 1 |
| Bob | 2 |

Bring with you:

- shoes
- water
"""
PYTHON = "import os\n\nclass Race:\n    laps = 3\n\n    def run(self):\n        return self.laps\n\nprint(Race)\n"
HTML = "<h2>Race</h2><table><tr><th>name</th></tr><tr><td>Anna</td></tr></table><p>Bring:</p><ul><li>shoes</li></ul>"


def needed(text: str, format: str) -> dict[str, dict[str, list[str]]]:
    """The needs of units by check, each unit as its readable text."""
    passage = Passage(text, format=format)
    p = SegmentedPassage.of(passage, segment(passage))

    def shown(place: int) -> str:
        unit = p.tiling[place]
        return text[unit.start : unit.end].strip()

    return {
        check: {shown(place): [shown(one) for one in others] for place, others in found.items()}
        for check, found in needed_units(p).items()
    }


def test_markdown() -> None:
    found = needed(MARKDOWN, "markdown")
    header = "| name | place |\n| --- | --- |"
    assert found["rows"] == {"| Anna | 1 |": [header], "| Bob | 2 |": [header]}
    assert found["items"] == {"- shoes": ["Bring with you:"], "- water": ["Bring with you:"]}
    assert found["headings"]["| Bob | 2 |"] == ["# Race", "## Places"]
    assert set(found["headings"]) == {header, "| Anna | 1 |", "| Bob | 2 |", "Bring with you:", "- shoes", "- water"}
    assert found["code"] == {}


def test_code() -> None:
    found = needed(PYTHON, "lines")
    assert found["code"] == {
        "laps = 3": ["class Race:"],
        "def run(self):": ["class Race:"],
        "return self.laps": ["def run(self):"],
    }


def test_html() -> None:
    found = needed(HTML, "html")
    assert found["rows"] == {"<tr><td>Anna</td></tr>": ["<tr><th>name</th></tr>"]}
    assert found["items"] == {"shoes": ["Bring:"]}
    assert found["headings"]["shoes"] == ["Race"]


def test_a_table_has_the_header_of_no_other_table() -> None:
    two = "<table><tr><th>name</th></tr></table><table><tr><td>Anna</td></tr></table>"
    assert needed(two, "html")["rows"] == {}


def test_a_heading_of_the_same_level_ends_the_section_before() -> None:
    text = "# A\n\none\n\nB\n---\n\ntwo\n\nC\n===\n\nthree\n"
    found = needed(text, "markdown")["headings"]
    assert found == {"one": ["# A"], "two": ["# A", "B\n---"], "three": ["C\n==="]}


def test_a_difference_is_no_code() -> None:
    diff = "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n def f(a):\n+     return a\n"
    assert needed(diff, "lines")["code"] == {}


@dataclass
class Words:
    """Scores a unit 0.9 if it holds a word of the query, else 0.1."""

    name: str = "words"
    threshold: float | None = 0.5

    def __post_init__(self) -> None:
        self.about: dict[str, str] = {}

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        words = query.split()
        return [
            PassageScores(0.2, np.array([0.9 if any(word in text for word in words) else 0.1 for text in p.unit_texts]))
            for p in passages
        ]


def measured(build: Build, query: str, *passages: Passage) -> tuple[Measured, Source]:
    labelled = tuple(LabelledPassage(passage, ((0, 1),), True) for passage in passages)
    source = build("pages", [Example("1", "pages", query, labelled)])
    return measure(Words(), [source]), source


def test_what_is_kept_is_counted_with_and_without_structure(build: Build) -> None:
    query = "Bob water laps Race"
    texts = {"markdown": MARKDOWN, "lines": PYTHON, "text": "Bob ran."}
    passages = [Passage(text, format=format) for format, text in texts.items()]
    found = still_reads(*measured(build, query, *passages))
    # "# Race" and "class Race:" are kept by their scores; "## Places" and the method are not.
    assert found["rows"] == [1, 0, 1]
    assert found["items"] == [1, 0, 1]
    assert found["code"] == [2, 1, 2]  # `laps = 3` has its class, `return self.laps` lacks its method
    assert found["headings"] == [2, 0, 2]
    total, alone, with_structure = found["characters"]
    assert total == len(MARKDOWN) + len(PYTHON)
    assert 0 < alone < with_structure < total


def test_a_system_without_a_threshold_is_not_counted(build: Build) -> None:
    one, source = measured(build, "Bob", Passage(MARKDOWN, format="markdown"))
    one.system.threshold = None
    assert still_reads(one, source) == {}


def test_plain_text_is_left_out(build: Build) -> None:
    one, source = measured(build, "Bob", Passage("- Bob ran.\n- It rained.", format="text"))
    assert structure_summary(one, [source]) == {}


@pytest.mark.parametrize("format", ["markdown", "html", "lines"])
def test_blank_passages_need_nothing(format: str) -> None:
    assert all(found == {} for found in needed(" \n", format).values())
