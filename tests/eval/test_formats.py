"""Markup is no unit of an evaluation, and what is hidden is not read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from secateur.eval.metrics import figures_at
from secateur.eval.systems.base import SegmentedPassage
from secateur.eval.systems.registry import load_system
from secateur.eval.units import Scores, Source, SourceBuilder
from secateur.labelled.examples import Example, LabelledPassage
from secateur.models.segmentation import segment
from secateur.models.types import Passage

HTML = "<h1>Race</h1><p>It rained.</p><p>Anna <b>won</b> it.</p>"
QUERY = "Who won?"

Build = Callable[[str, Sequence[Example]], Source]


@pytest.fixture
def source(build: Build) -> Source:
    span = (HTML.index("<p>Anna"), len(HTML))
    labelled = LabelledPassage(Passage(HTML, "p", format="html"), (span,), True)
    return build("pages", [Example("1", "pages", QUERY, (labelled,))])


def test_only_what_can_be_kept_is_a_unit(source: Source) -> None:
    ((page,),) = source.segmented
    assert [text.split() for text in page.unit_texts] == [["Race"], ["It", "rained."], ["Anna", "won", "it."]]
    assert "".join(HTML[unit.start : unit.end] for unit in page.tiling) == HTML
    assert page.scored.tolist() == [False, True, False, False, True, False, False, True, False]
    assert page.text.split() == ["Race", "It", "rained.", "Anna", "won", "it."]
    assert source.gold.tolist() == [False, False, True]
    assert source.characters.tolist() == [4, 10, 19]
    assert source.tokens.tolist() == [1, 3, 11]  # with the seven of <b> and </b>


def test_a_passage_is_retained_without_its_markup(source: Source) -> None:
    found = figures_at(source, Scores(np.array([0.1, 0.1, 0.9]), np.array([0.9])), 0.5, np.ones((1, 1)))
    assert found["retention"][0] == 1
    assert found["precision"][0] == 1
    assert found["compression"][0] == pytest.approx(14 / 33)


@pytest.mark.parametrize("name", ["secateur", "bm25", "tfidf", "random", "full", "lead"])
def test_systems_score_the_units(source: Source, name: str) -> None:
    ((page,),) = source.segmented
    (scores,) = load_system(name).score_units(QUERY, (page,))
    assert len(scores.units) == 3
    if name in ("secateur", "bm25", "tfidf"):
        assert int(scores.units.argmax()) == 2


def test_baselines_do_not_read_what_is_hidden() -> None:
    page = Passage("See [it](http://race.example/won).\n\nAnna won.\n", format="markdown")
    p = SegmentedPassage.of(page, segment(page))
    (scores,) = load_system("bm25").score_units("race", (p,))
    assert scores.units.tolist() == [0, 0]


def test_the_group_is_no_part_of_what_systems_read(answered: Callable[..., Example]) -> None:
    prose, docs = (SourceBuilder().build("toy", [answered("1")], group) for group in ("prose", "docs"))
    assert (prose.group, docs.group) == ("prose", "docs")
    assert prose.fingerprint() == docs.fingerprint()
    assert not prose.by_line
