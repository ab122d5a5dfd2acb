from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from secateur.eval.systems.base import SegmentedPassage, SharesWork
from secateur.eval.systems.pruners import PrunerSystem
from secateur.eval.systems.registry import BASELINES, load_system
from secateur.eval.units import SourceBuilder
from secateur.labelled.examples import Example, LabelledPassage
from secateur.models.errors import InputError, ModelError
from secateur.models.pruner import Pruner
from secateur.models.types import Passage

TEXTS = [
    "It rained all day. Anna Berg won the race in Oslo. The crowd went home.",
    "Bread is sold here. The shop is closed on Monday.",
    "...",
]
QUERY = "Who won the race in Oslo?"

loaded = cache(load_system)
"""Each system is loaded once; scoring leaves no state that changes a score."""


@pytest.fixture(scope="module")
def passages() -> tuple[SegmentedPassage, ...]:
    labelled = tuple(LabelledPassage(Passage(text), (), False) for text in TEXTS)
    return SourceBuilder().build("toy", [Example("1", "toy", QUERY, labelled)]).segmented[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BASELINES, "secateur"])
def test_every_unit_gets_a_score_and_the_same_one_again(name: str, passages: Sequence[SegmentedPassage]) -> None:
    system = loaded(name)
    assert system.name == name
    first, again = system.score_units(QUERY, passages), system.score_units(QUERY, passages)
    assert [len(p.units) for p in first] == [len(p.units) for p in passages]
    for one, two in zip(first, again, strict=True):
        assert np.isfinite(one.units).all()
        np.testing.assert_allclose(one.units, two.units, atol=1e-6)
        assert math.isnan(one.relevance) == (name in ("full", "lead"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bm25", "tfidf", "embedding", "rank-head", "secateur"])
def test_what_reads_the_query_finds_the_answer(name: str, passages: Sequence[SegmentedPassage]) -> None:
    answering, other, _ = loaded(name).score_units(QUERY, passages)
    assert int(answering.units.argmax()) == 1
    assert answering.relevance > other.relevance


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bm25", "tfidf", "embedding", "rank-head", "secateur"])
@pytest.mark.parametrize("titles", [True, False])
def test_a_title_that_is_shown_is_read(name: str, titles: bool) -> None:
    museums = ("Musée d'Orsay", "Louvre")
    labelled = tuple(LabelledPassage(Passage("It opened in that year.", title=title), (), False) for title in museums)
    example = Example("1", "toy", "When did the Louvre open?", labelled)
    shown = SourceBuilder(titles=titles).build("toy", [example]).segmented[0]
    orsay, louvre = loaded(name).score_units(example.query, shown)
    assert bool(louvre.relevance > orsay.relevance) is titles
    assert bool(louvre.units[0] > orsay.units[0]) is titles


@pytest.mark.parametrize("name", ["bm25", "tfidf"])
@pytest.mark.parametrize("query", ["Xylophone?", "???", ""])
def test_a_query_without_a_known_word_scores_nothing(
    name: str, query: str, passages: Sequence[SegmentedPassage]
) -> None:
    assert all((p.units == 0).all() for p in loaded(name).score_units(query, passages))


def test_lead_falls_with_the_position(passages: Sequence[SegmentedPassage]) -> None:
    (first, *_) = loaded("lead").score_units(QUERY, passages)
    assert (np.diff(first.units) < 0).all()


def test_ours_scores_as_the_pruner_does(pruner: Pruner, passages: Sequence[SegmentedPassage]) -> None:
    system = loaded("secateur")
    assert system.threshold == pruner.config.threshold
    scored = system.score_units(QUERY, passages)
    direct = pruner.prune(QUERY, TEXTS, reorder=False, return_units=True).results
    for one, result in zip(scored, direct, strict=True):
        assert one.relevance == pytest.approx(result.score, abs=1e-5)
        np.testing.assert_allclose(one.units, [u.score for u in result.units or ()], atol=1e-5)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_both_files_of_the_shipped_model_are_systems(precision: str) -> None:
    assert loaded(f"secateur-{precision}").about["backend"].endswith(precision)


@pytest.mark.parametrize(
    ("spec", "said"),
    [("bm26", "unknown system 'bm26'"), ("bm25:some/dir", "takes no model"), ("provence", "needs a checkpoint")],
)
def test_a_wrong_system_is_named(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_system(spec)


@pytest.mark.parametrize("name", ["secateur", "embedding", "rank-head", "provence"])
def test_a_missing_directory_is_an_error(name: str) -> None:
    with pytest.raises(ModelError, match="no/such/dir"):
        load_system(f"{name}:no/such/dir")


def test_what_a_score_depends_on_is_told() -> None:
    int8, fp16 = loaded("secateur-int8").about, loaded("secateur-fp16").about
    assert int8["model"] == fp16["model"] == "secateur-nano-en"
    assert int8["weights"] == "secateur-nano-en, 23 MB"
    assert int8["digest"] != fp16["digest"]


def test_sources_that_the_model_was_trained_on_are_known() -> None:
    system = loaded("secateur")
    assert isinstance(system, PrunerSystem)
    trained_on = system.trained_on
    assert {"cuad", "squad_v1_dev"} <= trained_on
    assert "policyqa" not in trained_on


def test_embeddings_that_were_prepared_together_are_those_of_one_by_one(passages: Sequence[SegmentedPassage]) -> None:
    alone, together = load_system("embedding"), loaded("embedding")
    assert isinstance(together, SharesWork)
    together.prepare([QUERY, "What is sold?"], [passages, passages[:2]])
    for one, two in zip(alone.score_units(QUERY, passages), together.score_units(QUERY, passages), strict=True):
        np.testing.assert_allclose(one.units, two.units, atol=0.02)  # bf16 rounds batches of other shapes apart
        assert one.relevance == pytest.approx(two.relevance, abs=0.02)
