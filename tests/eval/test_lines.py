from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from secateur.eval.lines import line_baselines, random_recall
from secateur.eval.metrics import line_figures, line_recall
from secateur.eval.units import Source
from secateur.labelled.examples import Example, LabelledPassage
from secateur.models.types import Passage

Build = Callable[[str, Sequence[Example]], Source]


def output(first: int, gold: Sequence[int]) -> LabelledPassage:
    """Five numbered lines and a blank one, of which some are gold."""
    lines = [f"{number} step\n" for number in range(first, first + 5)]
    lines[1] += "\n"
    text = "".join(lines)
    starts = [text.index(f"{number} ") for number in gold]
    return LabelledPassage(Passage(text, format="lines"), tuple((start, start + 6) for start in starts), bool(gold))


@pytest.fixture
def source(build: Build) -> Source:
    both = Example("1", "log", "step 10", (output(10, (10,)), output(20, (23,))))
    none = Example("2", "log", "step 90", (output(30, ()),))
    return build("log", [both, none])


def test_lines_are_units_and_blank_ones_do_not_count(source: Source) -> None:
    assert source.by_line
    assert len(source.gold) == 15
    assert np.flatnonzero(source.gold).tolist() == [0, 8]


def test_recall_counts_the_lines_of_all_passages_of_a_query_together(source: Source) -> None:
    # The gold lines are the first and the fourth best of ten: 5, 3 and 1 of ten are kept.
    scores = np.array([0.9, 0.1, 0.1, 0.8, 0.7, 0.1, 0.1, 0.1, 0.6, 0.1, *([0.0] * 5)])
    found = line_recall(source, scores)
    assert {share: recalls[0] for share, recalls in found.items()} == {0.5: 1.0, 0.7: 0.5, 0.9: 0.5}
    assert all(np.isnan(recalls[1]) for recalls in found.values())  # it has no gold line
    figures = line_figures(found, np.ones((1, 2)))
    assert {name: figure[0] for name, figure in figures.items()} == {
        "line_recall.0.50": 1.0,
        "line_recall.0.70": 0.5,
        "line_recall.0.90": 0.5,
    }


def test_ties_break_by_position(source: Source) -> None:
    found = line_recall(source, np.zeros(15))
    assert [recalls[0] for recalls in found.values()] == [0.5, 0.5, 0.5]


def test_a_random_order_finds_what_is_kept_on_average(build: Build) -> None:
    many = build("log", [Example(str(n), "log", "step", (output(10, (10, 13)), output(20, (22,)))) for n in range(60)])
    means = [recalls.mean() for recalls in random_recall(many).values()]
    assert means == pytest.approx([0.5, 0.3, 0.1], abs=0.03)
    assert [recalls.tolist() for recalls in random_recall(many).values()] == [
        recalls.tolist() for recalls in random_recall(many).values()
    ]


def test_baselines_stand_beside_the_systems(source: Source) -> None:
    found = line_baselines([source])
    assert list(found) == ["bm25", "random order"]
    # The first line alone has a word of the query that others lack; the other gold line is the ninth.
    assert found["bm25"]["macro"]["line_recall"] == {"0.50": 0.5, "0.70": 0.5, "0.90": 0.5}
    assert found["bm25"]["sources"]["log"]["line_recall"] == found["bm25"]["macro"]["line_recall"]


def test_prose_has_no_baselines_by_line(build: Build, answered: Callable[..., Example]) -> None:
    assert line_baselines([build("toy", [answered("1")])]) == {}
