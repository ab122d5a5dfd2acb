"""Long texts and long lists come back whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from secateur.models.pruner import Pruner

Staged = Callable[[Mapping[str, float]], Pruner]


@pytest.mark.slow
def test_ten_thousand_passages_come_back(staged: Staged) -> None:
    passages = [f"Rain {number}." if number % 100 else "Yes." for number in range(10_000)]
    results = staged({"yes": 0.9}).prune("Rain?", passages, threshold=0.2).results
    assert sorted(result.index for result in results) == list(range(10_000))
    assert [result.index for result in results if result.text] == list(range(0, 10_000, 100))
    assert [result.index for result in results[:100]] == list(range(0, 10_000, 100))


@pytest.mark.slow
def test_many_passages_come_back_from_the_model(pruner: Pruner) -> None:
    results = pruner.prune("Rain?", [f"Rain {number % 50}." for number in range(500)]).results
    assert sorted(result.index for result in results) == list(range(500))
    scores = [result.score for result in results]
    assert scores == sorted(scores, reverse=True)
    by_text: dict[int, set[float]] = {}
    for result in results:
        by_text.setdefault(result.index % 50, set()).add(result.score)
    assert all(max(found) - min(found) <= 1e-4 for found in by_text.values())


@pytest.mark.slow
def test_text_without_a_space_comes_back_and_is_counted(pruner: Pruner) -> None:
    text = "a" * 40_000
    (passage,) = pruner.prune("Who came?", [text], threshold=0.0).results
    assert passage.text == text
    (bounded,) = pruner.prune("Who came?", [text], threshold=0.0, max_tokens=5000).results
    assert 0 < len(bounded.text) < len(text)


def test_a_sentence_far_behind_the_window_is_found(staged: Staged) -> None:
    text = "Rain fell on the roofs. " * 300 + "Yes yes. " + "Snow fell on the roads. " * 300
    (result,) = staged({"yes": 0.9}).prune("q", [text], threshold=0.2).results
    assert result.text == "Yes yes."
    assert result.spans == ((text.index("Yes"), text.index("Yes") + 8),)
    assert result.total_units == 601


def test_a_sentence_longer_than_the_window_is_scored_whole(staged: Staged) -> None:
    text = ("rain " * 50 + "yes " * 50).strip() + "."
    (result,) = staged({"yes": 0.9}).prune("q", [text], return_units=True).results
    assert result.units is not None
    (unit,) = result.units
    assert unit.score == pytest.approx(0.45, abs=0.1)
