from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.eval.metrics import ScoredUnits, at_threshold, reciprocal_rank, retention_compression


def passage(scores: list[float], relevant: list[int], characters: list[int] | None = None) -> ScoredUnits:
    return ScoredUnits(
        characters=np.array(characters or [10] * len(scores)),
        scores=np.array(scores),
        relevant=np.array(relevant, dtype=bool),
        passage_relevant=any(relevant),
    )


def test_a_perfect_ranking_drops_all_that_is_irrelevant_at_full_retention() -> None:
    curve = retention_compression([passage([0.9, 0.1, 0.2], [1, 0, 0]), passage([0.1, 0.2], [0, 0])])
    assert curve.compression_at(1.0) == pytest.approx(0.8)
    assert curve.area() == pytest.approx(0.8)


def test_a_passage_survives_only_with_all_its_relevant_units() -> None:
    curve = retention_compression([passage([0.9, 0.1, 0.5], [1, 1, 0]), passage([0.8, 0.3], [1, 0])])
    # Both survive only where everything is kept; one survives where four of five units are dropped.
    assert curve.compression_at(1.0) == pytest.approx(0.0)
    assert curve.compression_at(0.5) == pytest.approx(0.6)


def test_compression_counts_characters() -> None:
    curve = retention_compression([passage([0.9, 0.1], [1, 0], [10, 90])])
    assert curve.compression_at(1.0) == pytest.approx(0.9)


def test_a_relevant_passage_without_a_labelled_unit_cannot_be_lost() -> None:
    unlabelled = ScoredUnits(np.array([5]), np.array([0.5]), np.array([False]), passage_relevant=True)
    assert retention_compression([unlabelled]).compression_at(1.0) == 1.0


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(1, 50)), min_size=1, max_size=20))
def test_retention_falls_and_compression_rises_with_the_threshold(units: list[tuple[float, bool, int]]) -> None:
    scores, relevant, characters = map(list, zip(*units, strict=True))
    if not any(relevant):
        relevant[0] = True
    curve = retention_compression([passage(scores, relevant, characters)])
    assert (np.diff(curve.retention) <= 0).all()
    assert (np.diff(curve.compression) >= 0).all()
    assert curve.retention[0] == 1.0
    assert curve.compression[0] == 0.0
    assert curve.compression[-1] == 1.0


def test_figures_at_a_threshold() -> None:
    figures = at_threshold([passage([0.9, 0.6, 0.1, 0.2], [1, 0, 1, 0])], 0.5)
    assert figures["precision"] == 0.5
    assert figures["recall"] == 0.5
    assert figures["f1"] == pytest.approx(0.5)
    assert figures["retention"] == 0.0
    assert figures["compression"] == 0.5


def test_reciprocal_rank_breaks_ties_by_position() -> None:
    assert reciprocal_rank([0.5, 0.5, 0.1], [False, True, False]) == 0.5
    assert reciprocal_rank([0.1, 0.9], [False, True]) == 1.0
    assert reciprocal_rank([0.1, 0.9], [True, True]) is None
    assert reciprocal_rank([0.1], [False]) is None
