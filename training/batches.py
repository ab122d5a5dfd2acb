"""Batches: whole queries of similar length, padded to one length; the same seed gives the same batches."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, Sampler, get_worker_info

from secateur.models.errors import DataError
from secateur.training import sampling
from secateur.training.losses import IGNORED
from secateur.training.pairs import Group, GroupBuilder
from secateur.training.sampling import PassageSampler, SampledQuery

_CHUNK = 40  # batches that are sorted by length together
_BUFFER = 1000  # examples of a source that are shuffled together while streaming

_Item = TypeVar("_Item")


def pack(items: Sequence[_Item], size: Callable[[_Item], int], batch_size: int) -> list[list[_Item]]:
    """Fill batches with queries in the given order until each has ``batch_size`` pairs, or a few more."""
    packed: list[list[_Item]] = [[]]
    pairs = 0
    for item in items:
        if pairs >= batch_size:
            packed.append([])
            pairs = 0
        packed[-1].append(item)
        pairs += size(item)
    return packed


class GroupBatchSampler(Sampler[list[int]]):
    """All batches of a run, epoch by epoch, each divided among the processes that train together.

    Queries are shuffled, sorted by length within chunks, and packed; the batches of a chunk come in random order.

    Args:
        groups: The pairs by query.
        batch_size: Approximate number of pairs per batch and process.
        epochs: Passes over the groups; may be fractional.
        seed: Seed of the order.
        rank: Rank of this process.
        world: Number of processes.
    """

    def __init__(
        self, groups: Sequence[Group], batch_size: int, epochs: float, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self._sizes = np.array([len(group) for group in groups])
        self._lengths = np.array([max(map(len, group)) for group in groups])
        rng = np.random.default_rng(seed)
        batches: list[list[int]] = []
        whole, rest = divmod(epochs, 1)
        for share in [1.0] * int(whole) + ([rest] if rest else []):
            batches += self._epoch(rng, batch_size * world, share)
        self._batches = [batch[rank::world] for batch in batches if len(batch) >= world]

    def _epoch(self, rng: np.random.Generator, batch_size: int, share: float) -> list[list[int]]:
        order = rng.permutation(len(self._sizes))
        order = order[: max(1, round(share * len(order)))]
        chunk = max(1, round(_CHUNK * batch_size / self._sizes.mean()))
        batches: list[list[int]] = []
        for start in range(0, len(order), chunk):
            part = order[start : start + chunk]
            part = part[np.argsort(-self._lengths[part], kind="stable")]
            packed = pack(part.tolist(), self._sizes.item, batch_size)
            batches += [packed[i] for i in rng.permutation(len(packed))]
        return batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)


class BatchStream(IterableDataset[list[Group]]):
    """The batches of a run from examples that are read repeatedly, for data that does not fit into memory.

    They are the same with any number of workers: each samples all batches, which is cheap, and encodes its own.

    Args:
        builder: Builder of the pairs; its data is sampled under its seed.
        batches: Number of batches.
        batch_size, rank, world: As in `GroupBatchSampler`.

    Raises:
        DataError: There is nothing to train on.
    """

    def __init__(self, builder: GroupBuilder, batches: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self._builder = builder
        self._batches = batches
        self._batch_size = batch_size * world
        self._rank, self._world = rank, world
        self._sources = sampling.usable_sources(builder.config)
        self._answering: set[bytes] = set()
        counts = dict.fromkeys(self._sources, 0)
        for name, read in self._sources.items():
            for example in read():
                counts[name] += 1
                self._answering.update(sampling.answering_keys(example))
        self.sizes = sampling.usable_sizes(counts, builder.config)

    def __len__(self) -> int:
        return self._batches

    def _sample_source(self, name: str, rng: random.Random) -> Iterator[SampledQuery]:
        """Yield queries of one source for ever: one of the buffer, whose place the next one takes."""
        sampler = PassageSampler(self._builder.config, rng, self._answering)
        examples = (example for read in repeat(self._sources[name]) for example in read())
        buffer = list(islice(examples, _BUFFER))
        while True:
            place = rng.randrange(len(buffer))
            example, buffer[place] = buffer[place], next(examples)
            yield sampler.sample(example, buffer)

    def _sampled(self, rng: random.Random) -> Iterator[SampledQuery]:
        shares = sampling.mixture(self.sizes, self._builder.config)
        streams = [self._sample_source(name, rng) for name in shares]
        while True:
            (stream,) = rng.choices(streams, weights=list(shares.values()))
            yield next(stream)

    def _packed(self) -> Iterator[list[tuple[int, SampledQuery]]]:
        rng = random.Random(self._builder.seed)
        sampled = enumerate(self._sampled(rng))
        while True:
            chunk: list[tuple[int, SampledQuery]] = []
            pairs = 0
            while pairs < _CHUNK * self._batch_size:
                chunk.append(next(sampled))
                pairs += len(chunk[-1][1])
            # Nothing is encoded yet, so the length is that of the longest text.
            chunk.sort(key=lambda one: -max(len(passage.passage.text) for passage in one[1].passages))
            batches = pack(chunk, lambda one: len(one[1]), self._batch_size)
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
                data = self._builder.config.train
                raise DataError(f"{data}: nothing can be learned from a whole batch; run `secateur data check`")
            yield groups


@dataclass(frozen=True, slots=True)
class GroupCollator:
    """Pads the pairs of a batch to one length."""

    pad_id: int
    multiple: int  # of which the length is one; fewer distinct lengths keep kernels warm
    passage_type: int

    def __call__(self, groups: Sequence[Group]) -> dict[str, Tensor]:
        """Return the network's inputs int64[batch, tokens], and the fields of `losses.Targets`."""
        pairs = [pair for group in groups for pair in group]
        longest = max(map(len, pairs))
        shape = (len(pairs), -(-longest // self.multiple) * self.multiple)
        input_ids = torch.full(shape, self.pad_id)
        attention_mask = torch.zeros(shape, dtype=torch.long)
        token_type_ids = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORED)
        units = torch.zeros(shape, dtype=torch.long)
        for row, pair in enumerate(pairs):
            n = len(pair)
            input_ids[row, :n] = torch.from_numpy(pair.input_ids)
            attention_mask[row, :n] = 1
            token_type_ids[row, pair.passage_start : n] = self.passage_type
            labels[row, :n] = torch.from_numpy(pair.labels)
            units[row, :n] = torch.from_numpy(pair.units)
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "unit_ids": torch.where(labels == IGNORED, -1, units),  # tokens without a label are not text
            "labels": labels,
            "units": units,
            "relevant": torch.tensor([float(pair.relevant) for pair in pairs]),
            "teacher_scores": torch.tensor([pair.teacher_score for pair in pairs]),
            "groups": torch.tensor([number for number, group in enumerate(groups) for _ in group]),
        }
