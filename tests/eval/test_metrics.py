from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.eval.metrics import (
    RETENTION_LEVELS,
    Figures,
    curve,
    figures,
    figures_at,
    histogram,
    reliability,
)
from secateur.eval.units import Scores, Source


def source(passages: list[tuple[list[int], list[int]]], query_of: list[int] | None = None) -> Source:
    """A source of passages given as (characters, answers) by unit; one passage a query, unless said otherwise."""
    units = [len(characters) for characters, _ in passages]
    characters = [c for row, _ in passages for c in row]
    gold = [bool(a) for _, row in passages for a in row]
    queries = query_of if query_of is not None else list(range(len(passages)))
    return Source(
        name="toy",
        examples=(None,) * (max(queries) + 1),  # type: ignore[arg-type]  # only counted here
        segmented=(),
        characters=np.array(characters),
        tokens=np.array(characters) // 5,
        gold=np.array(gold),
        unit_passage=np.repeat(np.arange(len(units)), units),
        passage_query=np.array(queries),
        relevant=np.array([any(row) for _, row in passages]),
    )


def scored(*rows: list[float]) -> Scores:
    return Scores(np.concatenate([np.array(row) for row in rows]), np.array([max(row) for row in rows]))


def point(found: Figures, name: str) -> float:
    return float(found[name][0])


def once(one: Source) -> np.ndarray:
    return np.ones((1, len(one.examples)))


def test_a_perfect_ranking_drops_all_that_is_irrelevant_at_full_retention() -> None:
    one = source([([10, 10, 10], [1, 0, 0]), ([10, 10], [0, 0])])
    found = figures(one, scored([0.9, 0.1, 0.2], [0.1, 0.2]), None, once(one))
    assert point(found, "compression_at_retention.0.99") == pytest.approx(0.8)
    assert point(found, "area") == pytest.approx(0.8)


def test_a_passage_survives_only_with_all_its_answering_units() -> None:
    one = source([([10, 10, 10], [1, 1, 0]), ([10, 10], [1, 0])])
    points = curve(one, scored([0.9, 0.1, 0.5], [0.8, 0.3]), once(one))
    assert points is not None
    # Both survive only where everything is kept; one survives where four of five units are dropped.
    assert points[0, -1] == pytest.approx(0.0)
    assert points[0, 0] == pytest.approx(0.6)


def test_compression_counts_characters_and_tokens() -> None:
    one = source([([10, 90], [1, 0])])
    found = figures_at(one, scored([0.9, 0.1]), 0.5, once(one))
    assert point(found, "compression") == pytest.approx(0.9)
    assert point(found, "compression_tokens") == pytest.approx(18 / 20)


def test_compression_of_relevant_and_irrelevant_passages_is_separate() -> None:
    one = source([([10, 30], [1, 0]), ([20, 20], [0, 0])])
    found = figures_at(one, scored([0.9, 0.1], [0.9, 0.1]), 0.5, once(one))
    assert point(found, "compression_relevant") == pytest.approx(0.75)
    assert point(found, "compression_irrelevant") == pytest.approx(0.5)
    assert point(found, "compression") == pytest.approx(50 / 80)


def test_a_relevant_passage_without_a_labelled_unit_cannot_be_lost() -> None:
    one = source([([5, 5], [0, 0])])
    one.relevant[:] = True
    points = curve(one, scored([0.5, 0.4]), once(one))
    assert points is not None
    assert points[0, -1] == 1.0


def test_figures_at_a_threshold() -> None:
    one = source([([10, 10, 10, 10], [1, 0, 1, 0])])
    found = figures_at(one, scored([0.9, 0.6, 0.1, 0.2]), 0.5, once(one))
    assert point(found, "precision") == 0.5
    assert point(found, "recall") == 0.5
    assert point(found, "f1") == pytest.approx(0.5)
    assert point(found, "f2") == pytest.approx(0.5)
    assert point(found, "retention") == 0.0


def test_f2_weighs_recall_more_than_precision() -> None:
    one = source([([10] * 4, [1, 0, 0, 0])])
    keeps_too_much = figures_at(one, scored([0.9, 0.9, 0.9, 0.9]), 0.5, once(one))
    assert point(keeps_too_much, "f1") == pytest.approx(0.4)
    assert point(keeps_too_much, "f2") == pytest.approx(5 * 0.25 / (4 * 0.25 + 1))


def test_a_source_without_a_relevant_passage_has_compression_only() -> None:
    one = source([([10, 10], [0, 0])])
    found = figures(one, scored([0.9, 0.1]), 0.5, once(one))
    assert set(found) == {
        "default.compression",
        "default.compression_tokens",
        "default.compression_irrelevant",
    }


def test_a_row_of_weights_is_a_sample_of_queries() -> None:
    """Weights that draw a query twice and leave one out give the figures of that sample."""
    one = source([([10, 30], [1, 0]), ([10, 10], [1, 0]), ([50], [0])])
    scores = scored([0.9, 0.6], [0.2, 0.1], [0.7])
    drawn = figures(one, scores, 0.5, np.array([[1.0, 1, 1], [2, 0, 1]]))
    again = source([([10, 30], [1, 0]), ([10, 30], [1, 0]), ([50], [0])])
    direct = figures_at(again, scored([0.9, 0.6], [0.9, 0.6], [0.7]), 0.5, np.ones((1, 3)))
    for name, figure in direct.items():
        np.testing.assert_allclose(drawn[f"default.{name}"][1], figure[0], err_msg=name)


@pytest.mark.slow
@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(1, 50)), min_size=1, max_size=6),
        min_size=1,
        max_size=6,
    )
)
def test_the_curve_is_the_best_over_all_thresholds(passages: list[list[tuple[float, bool, int]]]) -> None:
    one = source([([c for _, _, c in units], [int(a) for _, a, _ in units]) for units in passages])
    scores = scored(*([s for s, _, _ in units] for units in passages))
    points = curve(one, scores, once(one))
    if not one.relevant.any():
        assert points is None
        return
    assert points is not None
    total = sum(c for units in passages for _, _, c in units)
    best = np.zeros(len(RETENTION_LEVELS))
    for threshold in [*sorted(set(scores.units.tolist())), 2.0]:
        relevant = [units for units in passages if any(a for _, a, _ in units)]
        retained = np.mean([all(s >= threshold for s, a, _ in units if a) for units in relevant])
        dropped = sum(c for units in passages for s, _, c in units if s < threshold) / total
        best = np.where(retained >= RETENTION_LEVELS - 1e-12, np.maximum(best, dropped), best)
    np.testing.assert_allclose(points[0], best, atol=1e-9)


def test_histogram_and_reliability_count_every_unit() -> None:
    one = source([([1, 1, 1, 1], [1, 0, 0, 1])])
    scores = scored([0.97, 0.03, 0.04, 1.0])
    counted = histogram(one, scores)
    assert sum(counted["gold"]) == 2
    assert counted["other"][0] == 2
    lowest, highest = reliability(one, scores)
    assert (lowest["low"], lowest["share"], lowest["units"]) == (0.0, 0.0, 2)
    assert highest["mean"] == pytest.approx(0.985)
    assert highest["share"] == 1.0
