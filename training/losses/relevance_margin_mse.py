"""Margin MSE (Hofstätter et al. 2020): the student learns the teacher's distance between passages of a query."""

from __future__ import annotations

import torch
from torch import Tensor


def relevance_margin_mse(relevance_logits: Tensor, teacher: Tensor, relevant: Tensor, groups: Tensor) -> Tensor:
    """Mean squared error of margins, over all pairs of a relevant and an irrelevant passage of one query.

    Args:
        relevance_logits: float32[batch].
        teacher: float32[batch], the teacher's logits; nan where it gave none.
        relevant: float32[batch], 1 for a passage that answers its query, 0 for one that does not.
        groups: int64[batch], passages of one query have the same number.

    Returns:
        A scalar; 0 for a batch without such a pair.
    """
    known = ~torch.isnan(teacher)
    scored = teacher.nan_to_num()
    pairs = (groups.unsqueeze(1) == groups.unsqueeze(0)) & (relevant.unsqueeze(1) > relevant.unsqueeze(0))
    pairs = pairs & known.unsqueeze(1) & known.unsqueeze(0)
    margins = relevance_logits.unsqueeze(1) - relevance_logits.unsqueeze(0)
    wanted = scored.unsqueeze(1) - scored.unsqueeze(0)
    return (((margins - wanted) ** 2) * pairs).sum() / pairs.sum().clamp(min=1)
