from __future__ import annotations

import pytest

from secateur.labelled.examples import LabelledPassage, parse_example
from secateur.labelled.readable import is_scored, overlapping, readable_text
from secateur.models.segmentation import segment
from secateur.models.types import Passage, Unit

HTML = "<p>It rained.</p><p>Anna <b>won</b>.</p>"
MARKDOWN = "# Race\n\n```py\nwinner = 'Anna'\n```\n"


def test_markup_and_what_is_hidden_as_a_whole_cannot_be_kept() -> None:
    units = segment(Passage(HTML, format="html"))
    assert [(HTML[u.start : u.end], is_scored(HTML, u)) for u in units] == [
        ("<p>", False),
        ("It rained.", True),
        ("</p>", False),
        ("<p>", False),
        ("Anna <b>won</b>.", True),
        ("</p>", False),
    ]
    units = segment(Passage(MARKDOWN, format="markdown"))
    assert [readable_text(MARKDOWN, unit) for unit in units] == ["Race", "", "winner = 'Anna'", ""]
    assert [is_scored(MARKDOWN, unit) for unit in units] == [True, False, True, False]


def test_what_is_read_leaves_out_hidden_spans() -> None:
    assert readable_text("a **b** c", Unit(0, 9, hidden=((2, 4), (5, 7)))).split() == ["a", "b", "c"]


def test_a_span_over_markup_alone_labels_nothing() -> None:
    everything = LabelledPassage(Passage(HTML, format="html"), ((0, len(HTML)),), True)
    units = segment(everything.passage)
    assert everything.unit_labels(units) == [False, True, False, False, True, False]
    bold = HTML.index("<b>")
    assert overlapping(HTML, units, [(bold, bold + 3)]) == [False] * 6
    assert overlapping(HTML, units, [(bold, bold + 4)]) == [False, False, False, False, True, False]


def test_in_plain_text_each_overlap_labels_a_unit() -> None:
    text = "It rained. Anna won."
    assert overlapping(text, [Unit(0, 11), Unit(11, 20)], [(10, 11)]) == [True, False]  # the space between them


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "text"), ({"format": None}, "text"), ({"format": "auto"}, "auto")]
)
def test_labelled_passages_without_a_format_are_text(given: dict[str, str], expected: str) -> None:
    example = parse_example({"query": "q", "passages": [{"text": "# A\n", **given}]}, 1)
    assert [labelled.passage.format for labelled in example.passages] == [expected]
