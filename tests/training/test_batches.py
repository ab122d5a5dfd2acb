from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader

from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError
from secateur.models.segmenters import get_segmenter
from secateur.training.batches import BatchStream, GroupBatchSampler, GroupCollator
from secateur.training.config import DataConfig
from secateur.training.losses import IGNORED
from secateur.training.pairs import Group, GroupBuilder, Pair


def group(*lengths: int) -> Group:
    return tuple(
        Pair(
            np.full(n, 7, dtype=np.int32),
            np.full(n, 1.0, dtype=np.float32),
            np.zeros(n, dtype=np.int16),
            passage_start=2,
            relevant=index == 0,
            teacher_score=float("nan"),
        )
        for index, n in enumerate(lengths)
    )


@pytest.fixture
def groups() -> list[Group]:
    rng = random.Random(0)
    return [group(*(rng.randint(10, 300) for _ in range(rng.randint(1, 4)))) for _ in range(500)]


def test_every_query_comes_once_an_epoch(groups: list[Group]) -> None:
    batches = list(GroupBatchSampler(groups, 16, 2.5, seed=1))
    counts = np.bincount([i for batch in batches for i in batch], minlength=len(groups))
    assert set(counts.tolist()) == {2, 3}
    assert counts.sum() == 1250


def test_batches_are_full_and_hold_similar_lengths(groups: list[Group]) -> None:
    sampler = GroupBatchSampler(groups, 16, 1, seed=1)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    sizes = [sum(len(groups[i]) for i in batch) for batch in batches]
    assert sum(16 <= size < 20 for size in sizes) >= len(sizes) - 2
    longest = [[max(map(len, groups[i])) for i in batch] for batch in batches]
    spread = np.mean([max(lengths) - min(lengths) for lengths in longest])
    assert spread < 40


def test_the_seed_decides_on_the_order(groups: list[Group]) -> None:
    first, again, other = (list(GroupBatchSampler(groups, 16, 1, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_processes_share_the_batches_of_one_with_as_many_pairs(groups: list[Group]) -> None:
    alone = list(GroupBatchSampler(groups, 32, 1, seed=1))
    ranks = [list(GroupBatchSampler(groups, 16, 1, seed=1, rank=rank, world=2)) for rank in range(2)]
    assert len(ranks[0]) == len(ranks[1])
    together = [sorted(a + b) for a, b in zip(*ranks, strict=True)]
    assert together == [sorted(batch) for batch in alone if len(batch) > 1]


def test_pairs_are_padded_and_know_their_query() -> None:
    batch = GroupCollator(pad_id=9, multiple=8, passage_type=1)([group(5, 3), group(11)])
    assert batch["input_ids"].shape == (3, 16)
    assert batch["groups"].tolist() == [0, 0, 1]
    assert batch["relevant"].tolist() == [1, 0, 1]
    assert torch.isnan(batch["teacher_scores"]).all()
    assert batch["input_ids"][1].tolist() == [7] * 3 + [9] * 13
    assert batch["attention_mask"].sum(1).tolist() == [5, 3, 11]
    assert batch["unit_ids"][1].tolist() == [0] * 3 + [-1] * 13
    assert batch["token_type_ids"][0].tolist() == [0, 0, 1, 1, 1] + [0] * 11
    assert batch["labels"][1].tolist() == [1.0] * 3 + [IGNORED] * 13


def stream(toy: Path, tokenizer: Tokenizer, *, batches: int = 12, seed: int = 1, **changes: object) -> BatchStream:
    world = {name: changes.pop(name) for name in ("rank", "world") if name in changes}
    config = DataConfig(train=toy, streaming=True, **changes)  # type: ignore[arg-type]
    builder = GroupBuilder(PairEncoder(tokenizer, 128), get_segmenter(), config, seed)
    return BatchStream(builder, batches, 8, **world)  # type: ignore[arg-type]


def content(batches: object) -> list[list[list[int]]]:
    return [[pair.input_ids.tolist() for group in batch for pair in group] for batch in batches]  # type: ignore[attr-defined]


def test_a_stream_has_as_many_full_batches_as_asked_for(toy: Path, tokenizer: Tokenizer) -> None:
    found = stream(toy, tokenizer)
    batches = list(found)
    assert len(batches) == len(found) == 12
    sizes = [sum(map(len, batch)) for batch in batches]
    assert all(8 <= size <= 12 for size in sizes)


def test_the_seed_of_a_stream_decides(toy: Path, tokenizer: Tokenizer) -> None:
    one, again, other = (content(stream(toy, tokenizer, seed=seed)) for seed in (1, 1, 2))
    assert one == again
    assert one != other


@pytest.mark.slow
def test_workers_change_no_batch(toy: Path, tokenizer: Tokenizer) -> None:
    collator = GroupCollator(pad_id=0, multiple=8, passage_type=1)
    alone = [collator(batch) for batch in stream(toy, tokenizer)]
    loader = DataLoader(
        stream(toy, tokenizer), batch_size=None, collate_fn=collator, num_workers=2, multiprocessing_context="spawn"
    )
    batches = list(loader)
    assert len(batches) == len(alone)
    for one, other in zip(batches, alone, strict=True):
        for name, values in other.items():
            assert torch.equal(one[name].nan_to_num(), values.nan_to_num()), name


def test_processes_share_the_batches_of_a_stream(toy: Path, tokenizer: Tokenizer) -> None:
    ranks = [content(stream(toy, tokenizer, rank=rank, world=2)) for rank in range(2)]
    assert [len(batches) for batches in ranks] == [12, 12]
    for one, other in zip(*ranks, strict=True):
        assert one
        assert other


def test_small_sources_are_drawn_by_the_mixture(toy: Path, tokenizer: Tokenizer) -> None:
    """Forty queries and five, drawn evenly."""
    found = stream(toy, tokenizer, batches=60, mix_exponent=0.0)
    assert found.sizes == {"large": 40, "small": 5}
    queries: Counter[str] = Counter()
    for batch in found._packed():
        queries.update("small" if "small" in drawn.query else "large" for _, drawn in batch)
        if sum(queries.values()) > 400:
            break
    assert queries["small"] / sum(queries.values()) == pytest.approx(0.5, abs=0.08)


def test_nothing_to_stream_is_an_error(toy: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="no labelled example"):
        stream(toy, tokenizer, exclude=("large", "small"))
