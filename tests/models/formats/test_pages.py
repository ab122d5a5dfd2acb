"""Text of pages: headers, footers and page breaks inside of sentences, and words broken at the end of a line."""

from __future__ import annotations

import pytest

from secateur.models.segmentation import segment
from secateur.models.types import Passage, Unit
from secateur.models.visible import visible_text


def units_of(text: str) -> list[Unit]:
    return segment(Passage(text, format="text"))


def lines_of_pages(text: str) -> list[str]:
    return [text[unit.start : unit.end].strip() for unit in units_of(text) if unit.kind == "line"]


def read(text: str) -> str:
    return " ".join(visible_text(text, units_of(text)).text.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It was trained on\n\nPage 3 of 12\n\nthe web. It ended.", ["Page 3 of 12"]),
        ("It was trained on\n\n7\n\nthe web. It ended.", ["7"]),
        ("It was trained on\n- 7 -\n\x0cthe web. It ended.", ["- 7 -"]),
        ("It was trained on\n\x0cActa Testing 2020\n\nthe web. It ended.", ["Acta Testing 2020"]),
        ("One ends.\nAcme Corp\n1\n\x0cTwo ends.\nAcme Corp\n2\n\x0cThree.", ["Acme Corp", "1", "Acme Corp", "2"]),
        ("It is\n\nActa 1\n\nred. So\n\nActa 2\n\nit is.\n\nActa 3\n\nAn end.", ["Acta 1", "Acta 2", "Acta 3"]),
        ("Chapter 1\n\nIt ends.\n\nChapter 2\n\nIt ends.\n\nChapter 3\n\nIt ends.", []),
        ("It ends.\n\n7\n\nIt begins.", []),
    ],
)
def test_headers_and_footers_are_units_of_their_own(text: str, expected: list[str]) -> None:
    assert lines_of_pages(text) == expected


def test_a_sentence_that_a_footer_interrupts_is_two_units_that_need_each_other() -> None:
    text = "It began.\n\nIt was trained on\n\nPage 3 of 12\n\n\x0cthe web. It ended."
    assert [(text[unit.start : unit.end].strip(), unit.needs) for unit in units_of(text)] == [
        ("It began.", ()),
        ("It was trained on", (3,)),
        ("Page 3 of 12", ()),
        ("the web.", (1,)),
        ("It ended.", ()),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A large cor-\npus of text.", "A large corpus of text."),
        ("A large cor-\r\n  pus of text.", "A large corpus of text."),
        ("A large cor\u00ad\npus of text.", "A large corpus of text."),
        ("It is a well-\nknown thing.", "It is a well-known thing."),
        ("The state-of-the-\nart thing.", "The state-of-the-art thing."),
        ("A COVID-\n19 test by Smith-\nJones.", "A COVID-19 test by Smith-Jones."),
        ("Both short-\nand long-term.", "Both short- and long-term."),
        ("He left -\nand came back.", "He left - and came back."),
    ],
)
def test_a_broken_word_is_read_as_one(text: str, expected: str) -> None:
    assert read(text) == expected


def test_offsets_of_a_broken_word_are_those_of_the_source() -> None:
    import numpy as np

    text = "A large cor-\npus of text."
    visible = visible_text(text, units_of(text))
    start = visible.text.index("corpus")
    spans = np.asarray([[start, start + 3], [start, start + 6], [start + 3, start + 6]], dtype=np.int32)
    assert [text[a:b] for a, b in visible.to_source(spans)] == ["cor", "cor-\npus", "pus"]


def test_prose_hides_nothing() -> None:
    text = "It is a well-known thing - so\nthey say. It ended\n\nhere, and there."
    assert visible_text(text, units_of(text)).text == text


def test_a_transcript_without_punctuation_is_cut_by_length() -> None:
    text = " ".join(f"w{number}" for number in range(2_000))
    counts = [len(text[unit.start : unit.end].split()) for unit in segment(Passage(text))]
    assert sum(counts) == 2_000
    assert min(counts) >= 60
    assert max(counts) <= 120
