"""The joint loss: token cross-entropy for pruning plus a weighted relevance loss (Provence, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from secateur.training.data import IGNORED


@dataclass(frozen=True, slots=True)
class JointLoss:
    """The parts of a batch's loss, scalars.

    Attributes:
        prune: mean binary cross-entropy over labelled tokens.
        relevance: mean binary cross-entropy over pairs.
        total: prune + weight * relevance.
    """

    prune: Tensor
    relevance: Tensor
    total: Tensor


def joint_loss(
    relevance_logits: Tensor, keep_logits: Tensor, relevant: Tensor, labels: Tensor, weight: float
) -> JointLoss:
    """Compute the joint loss of a batch.

    Args:
        relevance_logits: float32[batch].
        keep_logits: float32[batch, tokens].
        relevant: float32[batch], 1 for a passage that answers.
        labels: int64[batch, tokens], 1 keep, 0 drop, -100 ignored (query, title, special tokens and padding).
        weight: lambda, of the relevance part.
    """
    known = labels != IGNORED
    targets = labels.clamp(min=0).to(keep_logits.dtype)
    token_losses = binary_cross_entropy_with_logits(keep_logits, targets, reduction="none")
    prune = (token_losses * known).sum() / known.sum().clamp(min=1)
    relevance = binary_cross_entropy_with_logits(relevance_logits, relevant)
    return JointLoss(prune, relevance, prune + weight * relevance)
