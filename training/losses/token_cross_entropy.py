"""Two-class cross-entropy a token, for heads with a logit for each of drop and keep, as Provence's own checkpoints."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from secateur.training.losses import IGNORED


def token_cross_entropy(class_logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy over labelled tokens.

    With logits ``(0, z)`` it is the binary cross-entropy of ``z``, which is what heads with one logit are trained on.

    Args:
        class_logits: float32[batch, tokens, 2], drop and keep.
        labels: float32[batch, tokens], 0 or 1, or `IGNORED`.
        smoothing: label smoothing, in [0, 1).

    Returns:
        A scalar; 0 for a batch without a label.
    """
    known = labels != IGNORED
    if not known.any():
        return class_logits.sum() * 0.0
    return cross_entropy(class_logits[known], labels[known].long(), label_smoothing=smoothing)
