"""Focal loss a token (Lin et al. 2017): tokens that are right already count less."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from secateur.training.losses import IGNORED


def token_focal(keep_logits: Tensor, labels: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Mean focal loss over labelled tokens.

    Args:
        keep_logits: float32[batch, tokens].
        labels: float32[batch, tokens], in [0, 1], or `IGNORED`.
        gamma: how fast the weight of a token falls with its distance from the label; 0 is `token_bce`.

    Returns:
        A scalar; 0 for a batch without a label.
    """
    known = labels != IGNORED
    targets = labels.clamp(min=0)
    losses = binary_cross_entropy_with_logits(keep_logits, targets, reduction="none")
    weights = (torch.sigmoid(keep_logits) - targets).abs() ** gamma
    return (losses * weights * known).sum() / known.sum().clamp(min=1)
