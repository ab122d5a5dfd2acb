from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from secateur.eval.needle import LENGTHS, haystacks, hide, needle_test, read_needles, trials
from secateur.eval.units import Source, SourceBuilder
from secateur.labelled.examples import Example, LabelledPassage
from secateur.models.errors import DataError
from secateur.models.types import Passage

NEEDLES = read_needles()
Build = Callable[[str, Sequence[Example]], Source]


@pytest.fixture(scope="module")
def haystack_source(build: Build) -> Source:
    text = " ".join(f"The number {i} tram stops near the old market." for i in range(40))
    return build("trams", [Example("1", "trams", "Which tram?", (LabelledPassage(Passage(text), (), False),))])


def test_needles_of_both_kinds_are_enough_and_told_once() -> None:
    for sentences in (1, 2):
        assert sum(len(needle.sentences) == sentences for needle in NEEDLES) >= 10
    assert len({needle.query for needle in NEEDLES}) == len(NEEDLES)


@pytest.mark.parametrize("needle", NEEDLES)
def test_the_span_of_a_hidden_needle_is_the_needle(needle: Any) -> None:
    for position in (0, 1, 2):
        (passage,) = hide(needle, ["First one.", "Second one."], position, "x").passages
        ((start, end),) = passage.spans
        assert passage.passage.text[start:end] == " ".join(needle.sentences)
        assert passage.passage.text.count("one.") == 2


def test_every_position_of_every_length_is_tried(haystack_source: Source) -> None:
    made = trials([haystack_source], 1, per_position=2)
    tried = {tuple(map(int, example.id.split("/")[:2])) for example in made}
    assert tried == {(length, position) for length in LENGTHS for position in range(length + 1)}
    assert len({example.id for example in made}) == len(made) == 2 * len(tried)
    assert [e.passages for e in made] == [e.passages for e in trials([haystack_source], 1, per_position=2)]


def test_haystacks_are_runs_of_their_source(haystack_source: Source) -> None:
    stack = next(haystacks([haystack_source], 5, random.Random(0)))
    numbers = [int(text.split()[2]) for text in stack]
    assert all(b == a + 1 for a, b in pairwise(numbers))


def test_data_without_enough_units_is_an_error(build: Build, answered: Callable[..., Example]) -> None:
    with pytest.raises(DataError, match="needle test"):
        next(haystacks([build("toy", [answered("1")])], 30, random.Random(0)))


def test_a_system_that_finds_needles_and_one_that_keeps_everything(
    haystack_source: Source, keyword_system: Any
) -> None:
    class KeepsAll(keyword_system):
        name = "all"
        threshold = 0.0

    class KeepsNone(keyword_system):
        name = "none"
        threshold = 2.0

    class Unbarred(keyword_system):
        threshold = None

    systems: list[Any] = [KeepsAll(), KeepsNone(), Unbarred()]
    result = needle_test(systems, [haystack_source], SourceBuilder(), None, per_position=1)["systems"]
    assert set(result) == {"all", "none"}
    for sentences in ("1", "2"):
        assert result["all"]["needles"][sentences]["found"] == 1.0
        assert result["none"]["needles"][sentences]["found"] == 0.0
        assert result["none"]["needles"][sentences]["extra_units"] == 0.0
    assert 5 < result["all"]["needles"]["1"]["extra_units"] < 30
    assert result["none"]["grid"]["found"][-1] == [0.0] * 10


@pytest.mark.slow
def test_the_shipped_model_finds_most_needles(
    haystack_source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secateur.eval.systems.registry import load_system

    monkeypatch.setattr("secateur.eval.needle.LENGTHS", (5, 10))
    result = needle_test([load_system("secateur")], [haystack_source], SourceBuilder(), tmp_path, per_position=1)
    found = result["systems"]["secateur"]["needles"]
    assert found["1"]["found"] > 0.8
    assert found["1"]["extra_units"] < 3


def test_haystacks_are_plain_text(build: Build) -> None:
    log = "".join(f"{number} step\n" for number in range(40))
    source = build("log", [Example("1", "log", "?", (LabelledPassage(Passage(log, format="lines"), (), False),))])
    with pytest.raises(DataError, match="no source has 5 units of plain text"):
        next(haystacks([source], 5, random.Random(0)))
