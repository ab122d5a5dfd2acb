"""Binary cross-entropy a unit, scored as in use: by the mean keep probability of its tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from secateur.training.losses import IGNORED


def unit_bce(keep_logits: Tensor, labels: Tensor, units: Tensor) -> Tensor:
    """Mean binary cross-entropy over units.

    The token loss weighs a unit by its length; this one counts a short answer as much as a long sentence.

    Args:
        keep_logits: float32[batch, tokens].
        labels: float32[batch, tokens], in [0, 1], the same for all tokens of a unit, or `IGNORED`.
        units: int64[batch, tokens], each labelled token's unit in its window, from 0.

    Returns:
        A scalar; 0 for a batch without a label.
    """
    rows, columns = torch.nonzero(labels != IGNORED, as_tuple=True)
    if len(rows) == 0:
        return keep_logits.sum() * 0.0
    width = int(units.max()) + 1
    index = rows * width + units[rows, columns]
    size = len(keep_logits) * width
    counts = keep_logits.new_zeros(size).index_add(0, index, torch.ones_like(index, dtype=keep_logits.dtype))
    kept = keep_logits.new_zeros(size).index_add(0, index, torch.sigmoid(keep_logits[rows, columns]))
    gold = keep_logits.new_zeros(size).index_add(0, index, labels[rows, columns].to(keep_logits.dtype))
    present = counts > 0
    probability = (kept[present] / counts[present]).clamp(1e-6, 1 - 1e-6)
    return binary_cross_entropy(probability, gold[present] / counts[present])
