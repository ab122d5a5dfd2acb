"""Binary cross-entropy a token: the pruning loss of Provence (Chirkova et al., ICLR 2025, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from secateur.training.losses import IGNORED


def smoothed(labels: Tensor, smoothing: float) -> Tensor:
    """Return labels moved towards one half (Szegedy et al. 2016), ignored ones as 0.

    Args:
        labels: float32[...], in [0, 1] or `IGNORED`.
        smoothing: in [0, 1); 0.1 turns 1 into 0.95 and 0 into 0.05.
    """
    return labels.clamp(min=0) * (1 - smoothing) + smoothing / 2


def token_bce(keep_logits: Tensor, labels: Tensor, *, positive_weight: float = 1.0, smoothing: float = 0.0) -> Tensor:
    """Mean binary cross-entropy over labelled tokens.

    Args:
        keep_logits: float32[batch, tokens].
        labels: float32[batch, tokens], probability that a token is to be kept, in [0, 1], or `IGNORED`.
        positive_weight: how many times as much a kept token counts.
        smoothing: of the labels, see `smoothed`.

    Returns:
        A scalar; 0 for a batch without a label.
    """
    known = labels != IGNORED
    losses = binary_cross_entropy_with_logits(
        keep_logits,
        smoothed(labels, smoothing),
        reduction="none",
        pos_weight=torch.tensor(positive_weight, device=keep_logits.device),
    )
    return (losses * known).sum() / known.sum().clamp(min=1)
