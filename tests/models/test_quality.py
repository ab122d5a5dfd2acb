"""The shipped model on examples that leave no doubt."""

from __future__ import annotations

import pytest

from secateur.models.pruner import Pruner

FACTS = {
    "Who designed the Sydney Opera House?": (
        "The Sydney Opera House stands on Bennelong Point in Sydney Harbour. ",
        "It was designed by the Danish architect Jørn Utzon. ",
        "Guided tours are offered every day except on Good Friday.",
    ),
    "What is the boiling point of water at sea level?": (
        "Water covers most of the surface of the Earth. ",
        "At sea level, water boils at 100 degrees Celsius. ",
        "Many animals live in rivers and lakes.",
    ),
    "When was the University of Bologna founded?": (
        "Bologna is known for its food and its arcades. ",
        "The University of Bologna was founded in 1088. ",
        "The city's football club plays at the Stadio Renato Dall'Ara.",
    ),
    "What does the enzyme lactase do?": (
        "Milk is produced by mammals to feed their young. ",
        "Lactase is an enzyme that breaks down lactose into glucose and galactose. ",
        "Dairy farming is common in northern Europe.",
    ),
}
UNRELATED = [
    "The committee meets on the first Tuesday of every month. Minutes are kept by the secretary.",
    "To knit a scarf, cast on thirty stitches. Knit every row until it is long enough, then cast off.",
    "The stock closed two percent lower on Friday. Analysts had expected a small gain.",
]


@pytest.mark.parametrize("query", FACTS)
def test_the_answering_sentence_is_kept(pruner: Pruner, query: str) -> None:
    _, answer, _ = FACTS[query]
    (result,) = pruner.prune(query, ["".join(FACTS[query])]).results
    assert answer.strip() in result.text


@pytest.mark.parametrize("query", FACTS)
def test_the_answering_sentence_scores_highest(pruner: Pruner, query: str) -> None:
    (result,) = pruner.prune(query, ["".join(FACTS[query])], return_units=True).results
    assert result.units is not None
    assert max(result.units, key=lambda unit: unit.score) == result.units[1]


def test_most_of_what_does_not_answer_is_dropped(pruner: Pruner) -> None:
    kept = sum(pruner.prune(query, ["".join(text)]).results[0].kept_units for query, text in FACTS.items())
    assert kept <= 2 * len(FACTS)


@pytest.mark.parametrize("query", FACTS)
def test_unrelated_passages_come_back_empty(pruner: Pruner, query: str) -> None:
    assert [result.text for result in pruner.prune(query, UNRELATED).results] == [""] * len(UNRELATED)


@pytest.mark.parametrize("query", FACTS)
def test_the_relevant_passage_ranks_first(pruner: Pruner, query: str) -> None:
    passages = [*UNRELATED, *("".join(text) for text in FACTS.values())]
    (best, second, *_) = pruner.prune(query, passages).results
    assert best.index == len(UNRELATED) + list(FACTS).index(query)
    assert best.score > second.score + 0.1


@pytest.mark.parametrize("query", FACTS)
def test_an_answer_is_found_in_a_long_passage(pruner: Pruner, query: str) -> None:
    text = " ".join([*UNRELATED * 8, "".join(FACTS[query]), *UNRELATED * 8])
    (result,) = pruner.prune(query, [text]).results
    assert FACTS[query][1].strip() in result.text
    assert len(result.text) < len(text) / 4
