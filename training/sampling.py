"""Sampling: which queries of which sources a run learns from, and which passages come with each."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b

from secateur.labelled.examples import Example, LabelledPassage
from secateur.labelled.sources import LabelledSource, labelled_sources
from secateur.models.errors import DataError
from secateur.training.config import DataConfig


@dataclass(frozen=True, slots=True)
class SampledQuery:
    """A query with the passages to learn from: a positive, if it has one, and negatives.

    With ``no_answer`` the positive is repeated with its answering units removed.
    """

    query: str
    passages: tuple[LabelledPassage, ...]
    no_answer: bool = False

    def __len__(self) -> int:
        return len(self.passages) + self.no_answer


def _usable_examples(source: LabelledSource) -> Iterator[Example]:
    return (example for example in source.read() if example.passages and example.query.strip())


def usable_sources(config: DataConfig) -> dict[str, Callable[[], Iterator[Example]]]:
    """Return for each source a function that reads its examples with a query and a passage.

    Raises:
        DataError: A weight names an unknown source.
    """
    sources = {source.name: source for source in labelled_sources(config.train) if source.name not in config.exclude}
    unknown = sorted(config.source_weights.keys() - sources.keys())
    if unknown:
        raise DataError(f"data.source_weights: no source {unknown[0]!r}; the sources are {', '.join(sources)}")
    return {name: partial(_usable_examples, source) for name, source in sources.items()}


def usable_sizes(sizes: Mapping[str, int], config: DataConfig) -> dict[str, int]:
    """Return the sizes of the sources that have usable examples, or raise a `DataError` if none has."""
    used = {name: size for name, size in sizes.items() if size}
    if not used:
        raise DataError(f"{config.train}: no labelled example with a query and a passage; check the data and `exclude`")
    return used


def read_sources(config: DataConfig) -> dict[str, list[Example]]:
    """Read the usable examples by source.

    Raises:
        DataError: There is none, or a weight names an unknown source.
    """
    examples = {name: list(read()) for name, read in usable_sources(config).items()}
    return {name: examples[name] for name in usable_sizes({name: len(examples[name]) for name in examples}, config)}


def mixture(sizes: Mapping[str, int], config: DataConfig) -> dict[str, float]:
    """Return the share of each source in the samples, by size, exponent and weight, without those that have none.

    Raises:
        DataError: No source has a share.
    """
    weights = {name: size**config.mix_exponent * config.source_weights.get(name, 1.0) for name, size in sizes.items()}
    total = sum(weights.values())
    if not total:
        raise DataError("data.source_weights: the weight of every source is 0; give one of them a higher weight")
    return {name: weight / total for name, weight in weights.items() if weight}


def sample_sizes(sizes: Mapping[str, int], config: DataConfig) -> dict[str, int]:
    """Divide ``config.pairs`` among sources by their `mixture`, at least one each."""
    return {name: max(1, round(share * config.pairs)) for name, share in mixture(sizes, config).items()}


def passage_key(passage: LabelledPassage) -> bytes:
    """Return a digest of a passage's text, so that those of a large corpus fit into memory."""
    return blake2b(passage.passage.text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def answering_keys(example: Example) -> Iterator[bytes]:
    """Yield the keys of the passages that answer an example's query.

    A passage that is only ever a negative can be recognised by its text alone. A model that memorises it misjudges it
    for a query that it does answer, and evaluation data contains just such queries.
    """
    return (passage_key(passage) for passage in example.passages if passage.relevant)


@dataclass(slots=True)
class PassageSampler:
    """Samples passages for the queries of one source, with random negatives in their share.

    ``answering`` holds the keys of the passages that answer some query; used with ``config.answering_negatives``.
    """

    config: DataConfig
    rng: random.Random
    answering: Container[bytes]
    _pairs: int = 0
    _random_negatives: int = 0

    def _preferred(self, passages: Sequence[LabelledPassage]) -> Sequence[LabelledPassage]:
        """Return those passages that answer some query; all of them if none does."""
        if not self.config.answering_negatives:
            return passages
        return [passage for passage in passages if passage_key(passage) in self.answering] or passages

    def _random_negative(self, example: Example, pool: Sequence[Example]) -> LabelledPassage | None:
        """Return a passage of another query; None for one that belongs to this query too, which it may answer."""
        other = self.rng.choice(pool)
        foreign = self.rng.choice(self._preferred(other.passages))
        if other.query == example.query or any(foreign.passage.text == p.passage.text for p in example.passages):
            return None
        return replace(foreign, spans=(), relevant=False, teacher=None)

    def sample(self, example: Example, pool: Sequence[Example]) -> SampledQuery:
        """Sample passages for a query; ``pool`` has queries of the same source, for random negatives."""
        config, rng = self.config, self.rng
        positives = [p for p in example.passages if p.relevant]
        negatives = self._preferred([p for p in example.passages if not p.relevant])
        hard = int(config.hard_negatives) + (rng.random() < config.hard_negatives % 1)
        passages = [rng.choice(positives)] if positives else []
        # A query without an answer gets at least one passage.
        passages += rng.sample(negatives, min(len(negatives), hard if positives else max(hard, 1)))
        no_answer = bool(positives) and rng.random() < config.no_answer_share
        if self._random_negatives < config.random_negative_share * (self._pairs + len(passages)):
            foreign = self._random_negative(example, pool)
            if foreign is not None:
                passages.append(foreign)
                self._random_negatives += 1
        self._pairs += len(passages) + no_answer
        return SampledQuery(example.query, tuple(passages), no_answer)


def _sample_source(
    examples: Sequence[Example], wanted: int, sampler: PassageSampler, rng: random.Random
) -> Iterator[SampledQuery]:
    """Yield queries with ``wanted`` passages in total, each query once before any comes again."""
    while True:
        for example in rng.sample(examples, len(examples)):
            sampled = sampler.sample(example, examples)
            if len(sampled) >= wanted:
                passages = sampled.passages[:wanted]
                yield SampledQuery(sampled.query, passages, sampled.no_answer and len(passages) < wanted)
                return
            wanted -= len(sampled)
            yield sampled


def sample_queries(sources: Mapping[str, list[Example]], config: DataConfig, rng: random.Random) -> list[SampledQuery]:
    """Sample queries from all sources, with about ``config.pairs`` passages, in random order."""
    wanted = sample_sizes({name: len(examples) for name, examples in sources.items()}, config)
    answering = {key for examples in sources.values() for example in examples for key in answering_keys(example)}
    sampled = [
        query
        for name, count in wanted.items()
        for query in _sample_source(sources[name], count, PassageSampler(config, rng, answering), rng)
    ]
    rng.shuffle(sampled)
    return sampled
