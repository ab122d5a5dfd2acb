"""Sampling: which queries of which sources a run learns from, and which passages come with each."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from secateur.labelled.examples import Example, LabelledPassage
from secateur.labelled.sources import LabelledSource, labelled_sources
from secateur.models.errors import DataError
from secateur.training.config import DataConfig


@dataclass(frozen=True, slots=True)
class SampledQuery:
    """A query with the passages to learn from.

    Attributes:
        query: Text of the query.
        passages: A positive, if the query has one, and negatives.
        no_answer: Whether the positive is repeated with its answering units removed.
    """

    query: str
    passages: tuple[LabelledPassage, ...]
    no_answer: bool = False

    def __len__(self) -> int:
        return len(self.passages) + self.no_answer


def usable_sources(config: DataConfig) -> dict[str, LabelledSource]:
    """Return the sources to sample from, unread.

    Raises:
        DataError: there is none, or a weight names an unknown source.
    """
    sources = {source.name: source for source in labelled_sources(config.train) if source.name not in config.exclude}
    if not sources:
        raise _nothing_usable(config)
    unknown = sorted(config.source_weights.keys() - sources.keys())
    if unknown:
        raise DataError(f"data.source_weights: no source {unknown[0]!r}; the sources are {', '.join(sources)}")
    return sources


def _nothing_usable(config: DataConfig) -> DataError:
    return DataError(f"{config.train}: no labelled example with a query and a passage; check the data and `exclude`")


def usable_examples(source: LabelledSource) -> Iterator[Example]:
    """Yield the examples of a source that have a query and a passage."""
    return (example for example in source.read() if example.passages and example.query.strip())


def read_sources(config: DataConfig) -> dict[str, list[Example]]:
    """Read the usable examples by source.

    Raises:
        DataError: there is none.
    """
    read = {name: list(usable_examples(source)) for name, source in usable_sources(config).items()}
    sources = {name: examples for name, examples in read.items() if examples}
    if not sources:
        raise _nothing_usable(config)
    return sources


def mixture(sizes: Mapping[str, int], config: DataConfig) -> dict[str, float]:
    """Return the share of each source in the samples, by size, exponent and weight; sources without a share left out.

    Raises:
        DataError: no source has a share.
    """
    weights = {name: size**config.mix_exponent * config.source_weights.get(name, 1.0) for name, size in sizes.items()}
    total = sum(weights.values())
    if not total:
        raise DataError("data.source_weights: the weight of every source is 0; give one of them a higher weight")
    return {name: weight / total for name, weight in weights.items() if weight}


def sample_sizes(sizes: Mapping[str, int], config: DataConfig) -> dict[str, int]:
    """Divide ``config.pairs`` among sources by their `mixture`, at least one each."""
    return {name: max(1, round(share * config.pairs)) for name, share in mixture(sizes, config).items()}


@dataclass(frozen=True, slots=True)
class AnsweringPassages:
    """The passages that answer some query, identified by their text; stored as digests, so that a large corpus fits.

    A passage that is only ever a negative can be recognised by its text alone. A model that memorises it misjudges it
    for a query that it does answer, and evaluation data contains just such queries.
    """

    _digests: set[bytes] = field(default_factory=set)

    @staticmethod
    def _digest(passage: LabelledPassage) -> bytes:
        return blake2b(passage.passage.text.encode("utf-8", "surrogatepass"), digest_size=8).digest()

    def add(self, examples: Iterable[Example]) -> None:
        """Add the relevant passages of examples."""
        self._digests.update(self._digest(p) for example in examples for p in example.passages if p.relevant)

    def among(self, passages: Sequence[LabelledPassage]) -> Sequence[LabelledPassage]:
        """Return those passages that answer some query; all of them if none does."""
        return [p for p in passages if self._digest(p) in self._digests] or passages


class PassageSampler:
    """Samples passages for the queries of one source, with random negatives in their share.

    Args:
        config: Shares of each kind of passage.
        rng: Source of every random choice.
        answering: Passages that answer some query of the run, which negatives are taken from; None for any passage.
    """

    def __init__(self, config: DataConfig, rng: random.Random, answering: AnsweringPassages | None) -> None:
        self._config = config
        self._rng = rng
        self._answering = answering
        self._pairs = 0
        self._random_negatives = 0

    def _preferred(self, passages: Sequence[LabelledPassage]) -> Sequence[LabelledPassage]:
        return self._answering.among(passages) if self._answering else passages

    def _random_negative(self, example: Example, pool: Sequence[Example]) -> LabelledPassage | None:
        """Return a passage of another query; None for one that belongs to this query too, which it may answer."""
        other = self._rng.choice(pool)
        foreign = self._rng.choice(self._preferred(other.passages))
        if other.query == example.query or any(foreign.passage.text == p.passage.text for p in example.passages):
            return None
        return replace(foreign, spans=(), relevant=False, teacher=None)

    def sample(self, example: Example, pool: Sequence[Example]) -> SampledQuery:
        """Sample passages for a query.

        Args:
            example: The query with its passages, at least one.
            pool: Queries of the same source, for random negatives.
        """
        config, rng = self._config, self._rng
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


def _cycle(examples: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield examples in random order for ever, each once per round."""
    while True:
        yield from rng.sample(examples, len(examples))


def _sample_source(
    examples: Sequence[Example], wanted: int, sampler: PassageSampler, rng: random.Random
) -> Iterator[SampledQuery]:
    for example in _cycle(examples, rng):
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
    answering = AnsweringPassages() if config.answering_negatives else None
    if answering:
        for examples in sources.values():
            answering.add(examples)
    sampled = [
        query
        for name, count in wanted.items()
        for query in _sample_source(sources[name], count, PassageSampler(config, rng, answering), rng)
    ]
    rng.shuffle(sampled)
    return sampled
