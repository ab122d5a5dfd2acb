"""Batching: windows of any requests, sorted by length and packed under a token budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.models.encoding import Window


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows padded on the right to the same length: int64[batch, tokens].

    Attributes:
        rows: int64[batch], positions of the windows in the list that was batched.
        attention_mask: 0 on padding.
        unit_ids: The unit of each text token, -1 on all others.
    """

    rows: NDArray[np.int64]
    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    unit_ids: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Sizes of the batches that a backend runs best.

    Attributes:
        rows: Largest number of windows.
        tokens: Largest number of tokens, padding included.
        multiple: Padded lengths are multiples of it, for backends that keep memory for every length.
    """

    rows: int
    tokens: int
    multiple: int = 1


def _pad(rows: Sequence[int], windows: Sequence[Window], length: int, pad_id: int, passage_type: int) -> Batch:
    input_ids, attention_mask, token_type_ids, unit_ids = (
        np.full((len(rows), length), fill, dtype=np.int64) for fill in (pad_id, 0, 0, -1)
    )
    for line, row in enumerate(rows):
        window = windows[row]
        n = len(window)
        input_ids[line, :n] = window.ids
        attention_mask[line, :n] = 1
        token_type_ids[line, window.passage_start : n] = passage_type
        unit_ids[line, window.text_start : window.text_start + len(window.token_unit)] = window.token_unit
    return Batch(np.asarray(rows, dtype=np.int64), input_ids, attention_mask, token_type_ids, unit_ids)


def make_batches(windows: Sequence[Window], limits: BatchLimits, *, pad_id: int, passage_type: int) -> list[Batch]:
    """Pack windows into batches within a backend's limits, longest first, so that lengths in a batch are similar."""
    order = sorted(range(len(windows)), key=lambda i: -len(windows[i]))
    batches: list[Batch] = []
    start = 0
    while start < len(order):
        length = -(-len(windows[order[start]]) // limits.multiple) * limits.multiple
        size = max(1, min(limits.rows, limits.tokens // length))
        batches.append(_pad(order[start : start + size], windows, length, pad_id, passage_type))
        start += size
    return batches
