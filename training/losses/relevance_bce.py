"""Binary cross-entropy of relevance, a pair at a time."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def relevance_bce(relevance_logits: Tensor, relevant: Tensor) -> Tensor:
    """Mean binary cross-entropy over pairs.

    Args:
        relevance_logits: float32[batch].
        relevant: float32[batch], 1 for a passage that answers its query, 0 for one that does not.
    """
    return binary_cross_entropy_with_logits(relevance_logits, relevant)
