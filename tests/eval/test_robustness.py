from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from secateur.eval.robustness import VARIANTS, robustness_test
from secateur.eval.units import Source, SourceBuilder
from secateur.labelled.examples import Example, LabelledPassage
from secateur.models.types import Passage

Build = Callable[[str, Sequence[Example]], Source]
FIRST = "It rained all day. Anna won the great race! Nobody saw Straße 5."
QUERY = "Who has won the great race in the city?"


@pytest.fixture(scope="module")
def source(build: Build) -> Source:
    span = (FIRST.index("Anna"), FIRST.index("race!") + 5)
    passages = (
        LabelledPassage(Passage(FIRST, "p"), (span,), True),
        LabelledPassage(Passage("Bread is sold here. It is closed.", "n"), (), False),
    )
    return build("toy", [Example(str(i), "toy", QUERY, passages) for i in range(3)])


def changed(name: str, source: Source, query: int = 0) -> Example:
    return VARIANTS[name][1](source, query)


def answers(example: Example) -> list[str]:
    return [p.passage.text[start:end] for p in example.passages for start, end in p.spans]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_the_same_every_time_and_keeps_its_spans_inside(source: Source, name: str) -> None:
    example = changed(name, source)
    assert example == changed(name, source)
    assert example.query.strip()
    for p in example.passages:
        assert all(0 <= start < end <= len(p.passage.text) for start, end in p.spans)
        assert p.relevant == bool(p.spans)


def test_final_punctuation_goes_and_the_answer_stays(source: Source) -> None:
    example = changed("no final punctuation", source)
    assert example.passages[0].passage.text == "It rained all day Anna won the great race Nobody saw Straße 5"
    assert answers(example) == ["Anna won the great race"]


def test_upper_case_keeps_every_offset(source: Source) -> None:
    example = changed("upper case", source)
    assert len(example.passages[0].passage.text) == len(FIRST)
    assert answers(example) == ["ANNA WON THE GREAT RACE!"]


def test_typos_change_the_query_and_no_letter_is_lost(source: Source) -> None:
    query = changed("query with typos", source).query
    assert query != QUERY
    assert sorted(query) == sorted(QUERY)


def test_keywords_are_the_content_words(source: Source) -> None:
    assert changed("query as keywords", source).query == "won great race city"


def test_duplicates_and_noise_add_passages(source: Source) -> None:
    assert len(changed("duplicated passages", source).passages) == 4
    noisy = changed("a passage of noise", source)
    assert len(noisy.passages) == 3
    assert not noisy.passages[-1].relevant


def test_other_lengths_keep_the_answer(source: Source) -> None:
    for query in range(3):
        assert "Anna won the great race!" in answers(changed("1 to 30 units", source, query))[0]


def test_deletion_leaves_nothing_to_keep(source: Source) -> None:
    example = changed("answers deleted", source)
    assert example.passages[0].passage.text == "It rained all day. Nobody saw Straße 5."
    assert not any(p.relevant for p in example.passages)


def test_every_variant_is_measured_against_the_plain_data(source: Source, keyword_system: Any) -> None:
    result = robustness_test(keyword_system(), [source], SourceBuilder(), None, limit=2)
    rows = result["systems"]["keyword"]
    assert list(rows) == list(VARIANTS)
    assert set(result["about"]) == set(VARIANTS)
    assert result["queries"] == 2
    assert rows["plain"]["area_difference"]["difference"] == 0
    assert rows["plain"]["retention"] == 1
    assert rows["upper case"]["retention"] == 0  # this system looks for lower case
    assert rows["upper case"]["area_difference"]["difference"] < 0
    assert rows["answers deleted"]["kept_share"] == 0
    assert rows["answers deleted"]["area"] is None
    assert not math.isnan(rows["duplicated passages"]["mrr"])
