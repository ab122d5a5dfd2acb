from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from secateur.labelled.examples import Example
from secateur.models.errors import DataError
from secateur.training.config import DataConfig
from secateur.training.sampling import SampledQuery, read_sources, sample_queries, sample_sizes

QUERIES = 400

Sample = Callable[..., list[SampledQuery]]


def config(**changes: object) -> DataConfig:
    plain = {"train": Path(), "pairs": 400, "random_negative_share": 0.0, "no_answer_share": 0.0}
    return DataConfig(**(plain | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def examples(toy_example: Callable[[str], Example]) -> list[Example]:
    return [toy_example(str(i)) for i in range(QUERIES)]


@pytest.fixture(scope="module")
def sampled(examples: list[Example]) -> Sample:
    return lambda **changes: sample_queries({"toy": examples}, config(**changes), random.Random(1))


def test_small_sources_are_drawn_more_than_their_size() -> None:
    sizes = {"large": 10_000, "small": 100}
    assert sample_sizes(sizes, config(pairs=1000, mix_exponent=0.5)) == {"large": 909, "small": 91}


def test_a_source_weight_is_a_factor_of_its_share() -> None:
    sizes = {"a": 100, "b": 100, "c": 100}
    assert sample_sizes(sizes, config(pairs=100, source_weights={"a": 2.0, "b": 0.0})) == {"a": 67, "c": 33}
    with pytest.raises(DataError, match="weight of every source is 0"):
        sample_sizes({"a": 10}, config(source_weights={"a": 0.0}))


def test_each_positive_brings_its_hard_negatives(sampled: Sample) -> None:
    for one in sampled(hard_negatives=2):
        assert [p.relevant for p in one.passages][:3] == [True, False, False][: len(one.passages)]


def test_a_broken_number_of_hard_negatives_is_met_on_average(sampled: Sample) -> None:
    groups = sampled(hard_negatives=1.5, pairs=1000)
    negatives = [sum(not p.relevant for p in one.passages) for one in groups]
    assert set(negatives) <= {0, 1, 2}
    assert sum(negatives) / len(groups) == pytest.approx(1.5, abs=0.1)


def test_as_many_pairs_are_drawn_as_asked_for(sampled: Sample) -> None:
    for changes in ({}, {"hard_negatives": 2}, {"no_answer_share": 0.5}, {"random_negative_share": 0.3}):
        assert sum(map(len, sampled(**changes))) == 400


def test_random_negatives_belong_to_other_queries_and_come_in_their_share(
    sampled: Sample, examples: list[Example]
) -> None:
    groups = sampled(random_negative_share=0.2, answering_negatives=False)
    own = {e.query: {p.passage.text for p in e.passages} for e in examples}
    foreign = [p for one in groups for p in one.passages if p.passage.text not in own[one.query]]
    assert len(foreign) / 400 == pytest.approx(0.2, abs=0.03)
    assert all(not p.relevant and not p.spans for p in foreign)


def _negatives(groups: list[SampledQuery]) -> set[str]:
    return {p.passage.text for one in groups for p in one.passages if not p.relevant}


def test_negatives_are_passages_that_answer_another_query(toy_example: Callable[[str], Example]) -> None:
    # Each query's passages: its own answer, that of the query before, and one that answers none.
    texts = [f"Only {i} answers. It rained." for i in range(50)]
    examples = []
    for i, text in enumerate(texts):
        positive, negative, *_ = toy_example(str(i)).passages
        own = replace(positive, passage=replace(positive.passage, text=text), spans=((0, len(text) - 11),))
        before = replace(negative, passage=replace(negative.passage, text=texts[i - 1]))
        examples.append(Example(str(i), "toy", f"What answers {i}?", (own, before, negative)))

    def sampled(**changes: object) -> list[SampledQuery]:
        return sample_queries({"toy": examples}, config(pairs=100, hard_negatives=1, **changes), random.Random(3))

    assert _negatives(sampled()) <= set(texts)
    assert _negatives(sampled(random_negative_share=0.3)) <= set(texts)
    assert not _negatives(sampled(answering_negatives=False)) <= set(texts)


def test_a_query_whose_negatives_never_answer_keeps_them(sampled: Sample, examples: list[Example]) -> None:
    own = {p.passage.text for e in examples for p in e.passages[1:]}
    negatives = _negatives(sampled(hard_negatives=3))
    assert negatives and negatives <= own


def test_positives_come_without_their_answers_in_their_share(sampled: Sample) -> None:
    groups = sampled(no_answer_share=0.3, pairs=1000)
    assert sum(one.no_answer for one in groups) / len(groups) == pytest.approx(0.3, abs=0.06)


def test_a_query_without_an_answer_brings_a_passage_all_the_same(examples: list[Example]) -> None:
    unanswered = [replace(e, passages=e.passages[1:]) for e in examples[:20]]
    groups = sample_queries({"toy": unanswered}, config(pairs=10, hard_negatives=0), random.Random(0))
    assert [len(one.passages) for one in groups] == [1] * 10


def test_no_query_comes_twice_before_each_came_once(sampled: Sample) -> None:
    queries = [one.query for one in sampled(pairs=QUERIES, hard_negatives=0)]
    assert len(set(queries)) == QUERIES


def test_excluded_sources_are_not_read(toy: Path) -> None:
    assert set(read_sources(config(train=toy, exclude=("large",)))) == {"small"}
    with pytest.raises(DataError, match="no labelled example"):
        read_sources(config(train=toy, exclude=("large", "small")))


def test_a_weight_for_no_source_is_an_error(toy: Path) -> None:
    with pytest.raises(DataError, match="source_weights: no source 'huge'"):
        read_sources(config(train=toy, source_weights={"huge": 2.0}))
