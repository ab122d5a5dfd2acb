from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader

from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError
from secateur.models.segmenters import get_segmenter
from secateur.training.batches import GroupCollator
from secateur.training.config import DataConfig
from secateur.training.pairs import GroupBuilder
from secateur.training.streaming import BatchStream


def stream(toy: Path, tokenizer: Tokenizer, *, batches: int = 12, seed: int = 1, **changes: object) -> BatchStream:
    world = {name: changes.pop(name) for name in ("rank", "world") if name in changes}
    config = DataConfig(train=toy, streaming=True, **changes)  # type: ignore[arg-type]
    builder = GroupBuilder(PairEncoder(tokenizer, 128), get_segmenter(), config, seed)
    return BatchStream(config, builder, batches, 8, seed, **world)  # type: ignore[arg-type]


def content(batches: object) -> list[list[list[int]]]:
    return [[pair.input_ids.tolist() for group in batch for pair in group] for batch in batches]  # type: ignore[attr-defined]


def test_there_are_as_many_full_batches_as_asked_for(toy: Path, tokenizer: Tokenizer) -> None:
    found = stream(toy, tokenizer)
    batches = list(found)
    assert len(batches) == len(found) == 12
    sizes = [sum(map(len, batch)) for batch in batches]
    assert all(8 <= size <= 12 for size in sizes)


def test_the_seed_decides(toy: Path, tokenizer: Tokenizer) -> None:
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


def test_processes_share_batches(toy: Path, tokenizer: Tokenizer) -> None:
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


def test_nothing_to_train_on_is_an_error(toy: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="no labelled example"):
        stream(toy, tokenizer, exclude=("large", "small"))
