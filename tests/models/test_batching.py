"""Batches hold every window once, within the limits, padded on the right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.models.batching import BatchLimits, make_batches
from secateur.models.encoding import Window

PAD = 99


def window(tokens: int, passage_start: int = 2) -> Window:
    return Window(
        ids=np.arange(1, tokens + 1, dtype=np.int32),
        passage_start=min(passage_start, tokens),
        text_start=min(passage_start, tokens),
        token_unit=np.zeros(max(0, tokens - passage_start - 1), dtype=np.int32),
    )


WINDOWS = st.lists(st.builds(window, st.integers(1, 40), st.integers(1, 10)), max_size=30)
LIMITS = st.builds(BatchLimits, rows=st.integers(1, 8), tokens=st.integers(1, 200), multiple=st.sampled_from([1, 8]))


@given(WINDOWS, LIMITS)
def test_every_window_is_in_one_batch_as_it_was(windows: list[Window], limits: BatchLimits) -> None:
    batches = make_batches(windows, limits, pad_id=PAD, passage_type=1)
    assert sorted(int(row) for batch in batches for row in batch.rows) == list(range(len(windows)))
    for batch in batches:
        for line, row in enumerate(batch.rows):
            n, start = len(windows[row]), windows[row].passage_start
            rest = batch.input_ids.shape[1] - n
            assert batch.input_ids[line].tolist() == [*windows[row].ids, *[PAD] * rest]
            assert batch.attention_mask[line].tolist() == [1] * n + [0] * rest
            assert batch.token_type_ids[line].tolist() == [0] * start + [1] * (n - start) + [0] * rest
            units, text_start = windows[row].token_unit.tolist(), windows[row].text_start
            after = batch.unit_ids.shape[1] - text_start - len(units)
            assert batch.unit_ids[line].tolist() == [-1] * text_start + units + [-1] * after


@given(WINDOWS, LIMITS)
def test_batches_keep_to_the_limits(windows: list[Window], limits: BatchLimits) -> None:
    for batch in make_batches(windows, limits, pad_id=PAD, passage_type=1):
        rows, tokens = batch.input_ids.shape
        assert rows <= limits.rows
        # A window that is longer than a batch may be still has to run: by itself.
        assert rows * tokens <= limits.tokens or rows == 1
        assert 0 <= tokens - max(len(windows[row]) for row in batch.rows) < limits.multiple
        assert tokens % limits.multiple == 0


@given(WINDOWS, LIMITS)
def test_windows_of_like_length_run_together(windows: list[Window], limits: BatchLimits) -> None:
    batches = make_batches(windows, limits, pad_id=PAD, passage_type=1)
    lengths = [len(windows[row]) for batch in batches for row in batch.rows]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("passage_type", [0, 1])
def test_the_passage_has_the_templates_type(passage_type: int) -> None:
    (batch,) = make_batches([window(5)], BatchLimits(1, 10), pad_id=PAD, passage_type=passage_type)
    assert batch.token_type_ids.tolist() == [[0, 0] + [passage_type] * 3]
    for array in (batch.rows, batch.input_ids, batch.attention_mask, batch.token_type_ids, batch.unit_ids):
        assert array.dtype == np.int64


def test_windows_of_one_length_keep_their_order() -> None:
    batches = make_batches([window(5)] * 4, BatchLimits(rows=3, tokens=100), pad_id=PAD, passage_type=1)
    assert [batch.rows.tolist() for batch in batches] == [[0, 1, 2], [3]]
