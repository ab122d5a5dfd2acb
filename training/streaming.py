"""Streaming: batches from examples that are read repeatedly, for data that does not fit into memory."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

from torch.utils.data import IterableDataset, get_worker_info

from secateur.labelled.examples import Example
from secateur.labelled.sources import LabelledSource
from secateur.models.errors import DataError
from secateur.training.batches import CHUNK, pack
from secateur.training.config import DataConfig
from secateur.training.pairs import Group, GroupBuilder
from secateur.training.sampling import (
    AnsweringPassages,
    PassageSampler,
    SampledQuery,
    mixture,
    usable_examples,
    usable_sources,
)

_BUFFER = 1000  # examples of a source that are shuffled together


def _forever(source: LabelledSource) -> Iterator[Example]:
    while True:
        yield from usable_examples(source)


def _sample_source(source: LabelledSource, sampler: PassageSampler, rng: random.Random) -> Iterator[SampledQuery]:
    """Yield queries of one source for ever: one of the buffer, whose place the next one takes."""
    examples = _forever(source)
    buffer = list(islice(examples, _BUFFER))
    while True:
        place = rng.randrange(len(buffer))
        example, buffer[place] = buffer[place], next(examples)
        yield sampler.sample(example, buffer)


def _longest(sampled: SampledQuery) -> int:
    """Return the characters of a query's longest passage, which batches are sorted by before anything is encoded."""
    return max(len(p.passage.text) for p in sampled.passages)


class BatchStream(IterableDataset[list[Group]]):
    """The batches of a run; the same under the same seed, with any number of workers.

    Every worker samples all batches, which is cheap, and encodes its own.

    Args:
        config: What to sample.
        builder: Changes and encodes sampled queries.
        batches: Number of batches.
        batch_size: Approximate number of pairs per batch.
        seed: Seed of every random choice.
        rank: Rank of this process among those that train together; each gets its share of every batch.
        world: Number of these processes.

    Raises:
        DataError: there is nothing to train on.
    """

    def __init__(
        self,
        config: DataConfig,
        builder: GroupBuilder,
        batches: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._config = config
        self._builder = builder
        self._batches = batches
        self._batch_size = batch_size * world
        self._seed = seed
        self._rank, self._world = rank, world
        self._sources = usable_sources(config)
        self._answering = AnsweringPassages() if config.answering_negatives else None
        counts = {name: self._count(source) for name, source in self._sources.items()}
        self.sizes = {name: count for name, count in counts.items() if count}
        if not self.sizes:
            raise DataError(f"{config.train}: no labelled example with a query and a passage; check the data")

    def _count(self, source: LabelledSource) -> int:
        count = 0
        for example in usable_examples(source):
            count += 1
            if self._answering:
                self._answering.add([example])
        return count

    def __len__(self) -> int:
        return self._batches

    def _sampled(self, rng: random.Random) -> Iterator[tuple[int, SampledQuery]]:
        shares = mixture(self.sizes, self._config)
        samplers = {name: PassageSampler(self._config, rng, self._answering) for name in shares}
        streams = [_sample_source(self._sources[name], sampler, rng) for name, sampler in samplers.items()]
        number = 0
        while True:
            (stream,) = rng.choices(streams, weights=list(shares.values()))
            yield number, next(stream)
            number += 1

    def _packed(self) -> Iterator[list[tuple[int, SampledQuery]]]:
        rng = random.Random(self._seed)
        sampled = self._sampled(rng)
        while True:
            chunk: list[tuple[int, SampledQuery]] = []
            pairs = 0
            while pairs < CHUNK * self._batch_size:
                chunk.append(next(sampled))
                pairs += len(chunk[-1][1])
            chunk.sort(key=lambda one: -_longest(one[1]))
            batches = pack(chunk, [len(one) for _, one in chunk], self._batch_size)
            rng.shuffle(batches)
            yield from batches

    def __iter__(self) -> Iterator[list[Group]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        shared = (batch for batch in self._packed() if len(batch) >= self._world)
        for batch in islice(shared, worker, self._batches, workers):
            built = (self._builder.build(number, sampled) for number, sampled in batch[self._rank :: self._world])
            groups = [group for group in built if group]
            if not groups:
                raise DataError(
                    f"{self._config.train}: nothing can be learned from a whole batch; run `secateur data check`"
                )
            yield groups
