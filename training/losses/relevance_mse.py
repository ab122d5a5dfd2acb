"""Mean squared error to a teacher's relevance logit: Provence's regulariser, which keeps a reranker one."""

from __future__ import annotations

import torch
from torch import Tensor


def relevance_mse(relevance_logits: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error over the pairs that a teacher scored (Chirkova et al., ICLR 2025, section 3).

    Args:
        relevance_logits: float32[batch].
        teacher: float32[batch], the teacher's logits; nan where it gave none.

    Returns:
        A scalar; 0 for a batch without a teacher's score.
    """
    known = ~torch.isnan(teacher)
    errors = (relevance_logits - teacher.nan_to_num()) ** 2
    return (errors * known).sum() / known.sum().clamp(min=1)
