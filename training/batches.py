"""Batches: whole queries of similar length, padded to one length; the same seed gives the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from secateur.training.losses import IGNORED
from secateur.training.pairs import Group

CHUNK = 40  # batches that are sorted by length together


_Item = TypeVar("_Item")


def pack(items: Sequence[_Item], sizes: Sequence[int], batch_size: int) -> list[list[_Item]]:
    """Fill batches with items in the given order until each has ``batch_size`` pairs, or a few more.

    Args:
        items: Queries.
        sizes: Number of pairs of each query.
        batch_size: Pairs per batch.
    """
    packed: list[list[_Item]] = [[]]
    pairs = 0
    for item, size in zip(items, sizes, strict=True):
        if pairs >= batch_size:
            packed.append([])
            pairs = 0
        packed[-1].append(item)
        pairs += size
    return packed


class GroupBatchSampler(Sampler[list[int]]):
    """All batches of a run, epoch by epoch.

    Queries are shuffled, sorted by length within chunks, and packed; the batches of a chunk come in random order.

    Args:
        groups: The pairs by query.
        batch_size: Approximate number of pairs per batch; the last query may exceed it.
        epochs: Passes over the groups; may be fractional.
        seed: Seed of the order.
        rank: Rank of this process among those that train together; each gets its share of every batch.
        world: Number of these processes.
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
        chunk = max(1, round(CHUNK * batch_size / self._sizes.mean()))
        batches: list[list[int]] = []
        for start in range(0, len(order), chunk):
            part = order[start : start + chunk]
            part = part[np.argsort(-self._lengths[part], kind="stable")]
            packed = pack(part.tolist(), self._sizes[part].tolist(), batch_size)
            batches += [packed[i] for i in rng.permutation(len(packed))]
        return batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)


class GroupCollator:
    """Pads the pairs of a batch to one length.

    Args:
        pad_id: Padding token of the tokenizer.
        multiple: Number that the length is a multiple of; fewer distinct lengths keep kernels warm.
        passage_type: Token type of the passage.
    """

    def __init__(self, pad_id: int, multiple: int, passage_type: int) -> None:
        self._pad_id = pad_id
        self._multiple = multiple
        self._passage_type = passage_type

    def __call__(self, groups: Sequence[Group]) -> dict[str, Tensor]:
        """Return the network's inputs int64[batch, tokens], and the fields of `losses.Targets`."""
        pairs = [pair for group in groups for pair in group]
        longest = max(map(len, pairs))
        shape = (len(pairs), -(-longest // self._multiple) * self._multiple)
        input_ids = torch.full(shape, self._pad_id)
        attention_mask = torch.zeros(shape, dtype=torch.long)
        token_type_ids = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORED)
        units = torch.zeros(shape, dtype=torch.long)
        for row, pair in enumerate(pairs):
            n = len(pair)
            input_ids[row, :n] = torch.from_numpy(pair.input_ids)
            attention_mask[row, :n] = 1
            token_type_ids[row, pair.passage_start : n] = self._passage_type
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
