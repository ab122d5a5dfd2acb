"""The joint loss: token cross-entropy for pruning plus a weighted relevance loss (Provence, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

from secateur.training.data import IGNORED


@dataclass(frozen=True, slots=True)
class JointLoss:
    """The parts of a batch's loss, scalars.

    Attributes:
        prune: the pruning loss, per token and per unit.
        relevance: mean binary cross-entropy over pairs.
        total: prune + weight * relevance.
    """

    prune: Tensor
    relevance: Tensor
    total: Tensor


def token_loss(keep_logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy over labelled tokens, as in Provence.

    Args:
        keep_logits: float32[batch, tokens].
        labels: int64[batch, tokens], 1 keep, 0 drop, -100 ignored (query, title, special tokens and padding).
    """
    known = labels != IGNORED
    losses = binary_cross_entropy_with_logits(keep_logits, labels.clamp(min=0).to(keep_logits.dtype), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def unit_loss(keep_logits: Tensor, labels: Tensor, units: Tensor) -> Tensor:
    """Mean binary cross-entropy over units, each scored as in use: by the mean keep probability of its tokens.

    The token loss weighs a unit by its length; this one counts a short answer as much as a long sentence.

    Args:
        keep_logits: float32[batch, tokens].
        labels: int64[batch, tokens], the same for all tokens of a unit, -100 ignored.
        units: int64[batch, tokens], each labelled token's unit in its window, from 0.
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


def joint_loss(
    relevance_logits: Tensor,
    keep_logits: Tensor,
    relevant: Tensor,
    labels: Tensor,
    units: Tensor,
    *,
    weight: float,
    unit_share: float = 0.0,
) -> JointLoss:
    """Compute the joint loss of a batch.

    Args:
        relevance_logits: float32[batch].
        keep_logits: float32[batch, tokens].
        relevant: float32[batch], 1 for a passage that answers.
        labels: int64[batch, tokens], see `token_loss`.
        units: int64[batch, tokens], see `unit_loss`.
        weight: lambda, of the relevance part.
        unit_share: share of `unit_loss` in the pruning loss, in [0, 1].
    """
    prune = keep_logits.new_zeros(())
    if unit_share < 1:
        prune = prune + (1 - unit_share) * token_loss(keep_logits, labels)
    if unit_share > 0:
        prune = prune + unit_share * unit_loss(keep_logits, labels, units)
    relevance = binary_cross_entropy_with_logits(relevance_logits, relevant)
    return JointLoss(prune, relevance, prune + weight * relevance)
