"""Drawing: which queries of which sources a run learns from, and which passages come with each."""

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
class Drawn:
    """A query with the passages to learn from.

    Attributes:
        query: the query.
        passages: a positive one, if it has any, and negatives.
        no_answer: the positive comes a second time, with its answers removed.
    """

    query: str
    passages: tuple[LabelledPassage, ...]
    no_answer: bool = False

    def __len__(self) -> int:
        return len(self.passages) + self.no_answer


def usable_sources(config: DataConfig) -> dict[str, LabelledSource]:
    """Return the sources that a run draws from, unread.

    Raises:
        DataError: there is none, or a weight is given for none.
    """
    sources = {source.name: source for source in labelled_sources(config.train) if source.name not in config.exclude}
    if not sources:
        raise DataError(f"{config.train}: no labelled example to train on")
    unknown = sorted(config.source_weights.keys() - sources.keys())
    if unknown:
        raise DataError(f"data.source_weights: no source {unknown[0]!r}; there are {', '.join(sources)}")
    return sources


def usable(source: LabelledSource) -> Iterator[Example]:
    """Yield the examples of a source that have a query and a passage."""
    return (example for example in source.read() if example.passages and example.query.strip())


def read_sources(config: DataConfig) -> dict[str, list[Example]]:
    """Read the training examples by source.

    Raises:
        DataError: nothing is left to train on.
    """
    sources = {name: examples for name, source in usable_sources(config).items() if (examples := [*usable(source)])}
    if not sources:
        raise DataError(f"{config.train}: no labelled example to train on")
    return sources


def mixture(sizes: Mapping[str, int], config: DataConfig) -> dict[str, float]:
    """Return the share of each source in what is drawn, by size, exponent and weights; those without one are left out.

    Raises:
        DataError: no source has a share.
    """
    weights = {name: size**config.mix_exponent * config.source_weights.get(name, 1.0) for name, size in sizes.items()}
    total = sum(weights.values())
    if not total:
        raise DataError("data.source_weights: every source has the weight 0; nothing is left to train on")
    return {name: weight / total for name, weight in weights.items() if weight}


def draw_counts(sizes: Mapping[str, int], config: DataConfig) -> dict[str, int]:
    """Share ``config.pairs`` among sources by their `mixture`; each gets at least one."""
    return {name: max(1, round(share * config.pairs)) for name, share in mixture(sizes, config).items()}


def _cycle(examples: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield examples in random order, each once before any comes twice."""
    while True:
        yield from rng.sample(examples, len(examples))


@dataclass(frozen=True, slots=True)
class Answering:
    """The passages that answer some query, known by their text; kept as digests, so that a large corpus fits.

    A passage that is only ever a negative can be told from the others by its text alone, and a model that learns it by
    heart misjudges it when a query comes that it does answer: just the passages that evaluation data keeps to itself.
    """

    _digests: set[bytes] = field(default_factory=set)

    @staticmethod
    def _digest(passage: LabelledPassage) -> bytes:
        return blake2b(passage.passage.text.encode("utf-8", "surrogatepass"), digest_size=8).digest()

    def add(self, examples: Iterable[Example]) -> None:
        """Note the relevant passages of examples."""
        self._digests.update(self._digest(p) for example in examples for p in example.passages if p.relevant)

    def among(self, passages: Sequence[LabelledPassage]) -> Sequence[LabelledPassage]:
        """Return those of the passages that answer some query; all of them if none does."""
        return [p for p in passages if self._digest(p) in self._digests] or passages


def _random_negative(
    example: Example, pool: Sequence[Example], answering: Answering | None, rng: random.Random
) -> LabelledPassage | None:
    """Take a passage of another query; None if it is one of this query's too, which may answer it."""
    other = rng.choice(pool)
    foreign = rng.choice(answering.among(other.passages) if answering else other.passages)
    if other.query == example.query or any(foreign.passage.text == p.passage.text for p in example.passages):
        return None
    return replace(foreign, spans=(), relevant=False, teacher=None)


class Drawer:
    """Draws passages for queries of one source, random negatives in their share.

    Args:
        config: shares.
        rng: the source of every random choice.
        answering: the passages that answer some query of the run, of which negatives are taken; None for any.
    """

    def __init__(self, config: DataConfig, rng: random.Random, answering: Answering | None) -> None:
        self._config = config
        self._rng = rng
        self._answering = answering
        self._pairs = 0
        self._random_negatives = 0

    def draw(self, example: Example, pool: Sequence[Example]) -> Drawn:
        """Draw passages for a query.

        Args:
            example: the query with its passages, at least one.
            pool: queries of the same source, for random negatives.
        """
        config, rng = self._config, self._rng
        positives = [p for p in example.passages if p.relevant]
        negatives: Sequence[LabelledPassage] = [p for p in example.passages if not p.relevant]
        if self._answering:
            negatives = self._answering.among(negatives)
        hard = int(config.hard_negatives) + (rng.random() < config.hard_negatives % 1)
        passages = [rng.choice(positives)] if positives else []
        # A query without an answer brings a passage all the same.
        passages += rng.sample(negatives, min(len(negatives), hard if positives else max(hard, 1)))
        no_answer = bool(positives) and rng.random() < config.no_answer_share
        if self._random_negatives < config.random_negative_share * (self._pairs + len(passages)):
            foreign = _random_negative(example, pool, self._answering, rng)
            if foreign is not None:
                passages.append(foreign)
                self._random_negatives += 1
        self._pairs += len(passages) + no_answer
        return Drawn(example.query, tuple(passages), no_answer)


def _draw(examples: Sequence[Example], wanted: int, drawer: Drawer, rng: random.Random) -> Iterator[Drawn]:
    for example in _cycle(examples, rng):
        one = drawer.draw(example, examples)
        if len(one) >= wanted:
            passages = one.passages[:wanted]
            yield Drawn(one.query, passages, one.no_answer and len(passages) < wanted)
            return
        wanted -= len(one)
        yield one


def draw(sources: Mapping[str, list[Example]], config: DataConfig, rng: random.Random) -> list[Drawn]:
    """Draw queries from all sources, about ``config.pairs`` passages with them, in random order."""
    counts = draw_counts({name: len(examples) for name, examples in sources.items()}, config)
    answering = Answering() if config.answering_negatives else None
    if answering:
        for examples in sources.values():
            answering.add(examples)
    drawers = {name: Drawer(config, rng, answering) for name in counts}
    drawn = [one for name, wanted in counts.items() for one in _draw(sources[name], wanted, drawers[name], rng)]
    rng.shuffle(drawn)
    return drawn
