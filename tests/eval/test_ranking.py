from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from secateur.eval.collections import rank_figures
from secateur.eval.quality import ranking_by_query
from secateur.eval.units import Scores, Source
from secateur.labelled.examples import Example

Build = Callable[[str, Sequence[Example]], Source]


@pytest.fixture
def source(build: Build, answered: Callable[..., Example]) -> Source:
    """Two queries with an answer in the first of two passages, and one with none."""
    return build("toy", [answered("a"), answered("b"), answered("c", relevant=False)])


def scores(source: Source, relevance: list[float]) -> Scores:
    return Scores(np.zeros(len(source.gold)), np.array(relevance))


def test_ties_break_by_position(source: Source) -> None:
    found = ranking_by_query(source, scores(source, [0.5, 0.5, 0.1, 0.9, 0.3, 0.2]))
    np.testing.assert_array_equal(found["mrr"], [1.0, 0.5, np.nan])
    np.testing.assert_allclose(found["ndcg@10"][:2], [1.0, 1 / np.log2(3)])
    np.testing.assert_array_equal(found["recall@5"][:2], [1.0, 1.0])


def test_a_query_all_of_whose_passages_are_relevant_cannot_be_ranked(
    build: Build, answered: Callable[..., Example]
) -> None:
    example = answered("a")
    both = replace(example, passages=(example.passages[0], example.passages[0]))
    source = build("toy", [both])
    assert np.isnan(ranking_by_query(source, scores(source, [0.5, 0.5]))["mrr"]).all()


def test_a_system_that_does_not_rank_has_no_figure(source: Source) -> None:
    found = ranking_by_query(source, scores(source, [np.nan] * 6))
    assert all(np.isnan(figure).all() for figure in found.values())


def test_recall_and_mrr_are_cut_where_their_names_say() -> None:
    ranking = {"q": [f"d{i}" for i in range(20)]}
    found = rank_figures({"q": {"d4": 1, "d15": 1}}, ranking)
    assert found["recall@5"]["q"] == 0.5
    assert found["mrr"]["q"] == pytest.approx(0.2)
    late = rank_figures({"q": {"d15": 1}}, ranking)
    assert late["mrr"]["q"] == pytest.approx(1 / 16)
    assert late["mrr@10"]["q"] == 0.0
