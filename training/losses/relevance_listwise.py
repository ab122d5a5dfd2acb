"""Listwise relevance: softmax cross-entropy over the passages of a query (ListNet, Cao et al. 2007)."""

from __future__ import annotations

import torch
from torch import Tensor


def relevance_listwise(relevance_logits: Tensor, relevant: Tensor, groups: Tensor) -> Tensor:
    """Mean over queries of the cross-entropy of their relevant passages under a softmax over all of theirs.

    Queries without a relevant passage in the batch, or with nothing else, have no order to learn.

    Args:
        relevance_logits: float32[batch].
        relevant: float32[batch], 1 for a passage that answers its query, 0 for one that does not.
        groups: int64[batch], passages of one query have the same number.

    Returns:
        A scalar; 0 for a batch without a query to learn from.
    """
    same = groups.unsqueeze(0) == groups.unsqueeze(1)
    logits = relevance_logits.unsqueeze(0).masked_fill(~same, -torch.inf)
    losses = torch.logsumexp(logits, dim=1) - relevance_logits
    positives = (same * relevant.unsqueeze(0)).sum(1)
    useful = (relevant > 0) & (positives < same.sum(1))
    weights = useful / positives.clamp(min=1)  # each query counts once
    return (losses * weights).sum() / weights.sum().clamp(min=1e-9)
