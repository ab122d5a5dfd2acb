"""Streaming: batches from examples that are read again and again, for data that does not fit into memory."""

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
from secateur.training.drawing import Answering, Drawer, Drawn, mixture, usable, usable_sources
from secateur.training.pairs import Group, GroupBuilder

_BUFFER = 1000  # examples of a source that are shuffled together


class _Stream:
    """The examples of one source in some order, for ever, and the passages drawn for them."""

    def __init__(self, source: LabelledSource, drawer: Drawer, rng: random.Random) -> None:
        self._examples = self._forever(source)
        self._rng = rng
        self._drawer = drawer
        self._buffer = list(islice(self._examples, _BUFFER))

    @staticmethod
    def _forever(source: LabelledSource) -> Iterator[Example]:
        while True:
            yield from usable(source)

    def draw(self) -> Drawn:
        """Draw a query: one of the buffer, whose place the next one takes."""
        place = self._rng.randrange(len(self._buffer))
        example = self._buffer[place]
        self._buffer[place] = next(self._examples)
        return self._drawer.draw(example, self._buffer)


def _characters(drawn: Drawn) -> int:
    """Return what a query's longest passage has, by which batches are sorted before anything is encoded."""
    return max(len(p.passage.text) for p in drawn.passages)


class BatchStream(IterableDataset[list[Group]]):
    """The batches of a run, as many as were asked for; the same under the same seed, with any number of workers.

    Every worker draws all batches, which is cheap, and encodes its own.

    Args:
        config: what to draw.
        builder: changes and encodes what is drawn.
        batches: how many.
        batch_size: pairs of a batch, about.
        seed: of every random choice.
        rank: of this process among those that train together; each gets its share of every batch of all.
        world: number of these processes.

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
        self._answering = Answering() if config.answering_negatives else None
        counts = {name: self._count(source) for name, source in self._sources.items()}
        self.sizes = {name: count for name, count in counts.items() if count}
        if not self.sizes:
            raise DataError(f"{config.train}: no labelled example to train on")

    def _count(self, source: LabelledSource) -> int:
        count = 0
        for example in usable(source):
            count += 1
            if self._answering:
                self._answering.add([example])
        return count

    def __len__(self) -> int:
        return self._batches

    def _drawn(self, rng: random.Random) -> Iterator[tuple[int, Drawn]]:
        shares = mixture(self.sizes, self._config)
        drawers = {name: Drawer(self._config, rng, self._answering) for name in shares}
        streams = [_Stream(self._sources[name], drawers[name], rng) for name in shares]
        number = 0
        while True:
            (stream,) = rng.choices(streams, weights=list(shares.values()))
            yield number, stream.draw()
            number += 1

    def _packed(self) -> Iterator[list[tuple[int, Drawn]]]:
        rng = random.Random(self._seed)
        drawn = self._drawn(rng)
        while True:
            chunk: list[tuple[int, Drawn]] = []
            pairs = 0
            while pairs < CHUNK * self._batch_size:
                chunk.append(next(drawn))
                pairs += len(chunk[-1][1])
            chunk.sort(key=lambda one: -_characters(one[1]))
            batches = pack(chunk, [len(one) for _, one in chunk], self._batch_size)
            rng.shuffle(batches)
            yield from batches

    def __iter__(self) -> Iterator[list[Group]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        usable_batches = (batch for batch in self._packed() if len(batch) >= self._world)
        for batch in islice(usable_batches, worker, self._batches, workers):
            built = (self._builder.build(number, drawn) for number, drawn in batch[self._rank :: self._world])
            groups = [group for group in built if group]
            if not groups:
                raise DataError(f"{self._config.train}: a whole batch teaches nothing; `secateur data check` says why")
            yield groups
