"""The joint loss: pruning and relevance losses, weighted as the configuration says."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.training.config import LossConfig
from secateur.training.losses.relevance_bce import relevance_bce
from secateur.training.losses.relevance_listwise import relevance_listwise
from secateur.training.losses.relevance_margin_mse import relevance_margin_mse
from secateur.training.losses.relevance_mse import relevance_mse
from secateur.training.losses.token_bce import token_bce
from secateur.training.losses.token_cross_entropy import token_cross_entropy
from secateur.training.losses.token_focal import token_focal
from secateur.training.losses.unit_bce import unit_bce


@dataclass(frozen=True, slots=True)
class Targets:
    """What a batch is to be learned from.

    Attributes:
        labels: float32[batch, tokens], in [0, 1], or `IGNORED`.
        units: int64[batch, tokens], each labelled token's unit in its window, from 0.
        relevant: float32[batch], 1 for a passage that answers its query.
        teacher: float32[batch], a teacher's relevance logits; nan where there is none.
        groups: int64[batch], passages of one query have the same number.
    """

    labels: Tensor
    units: Tensor
    relevant: Tensor
    teacher: Tensor
    groups: Tensor


def loss_parts(
    relevance_logits: Tensor, keep_logits: Tensor, targets: Targets, config: LossConfig
) -> dict[str, Tensor]:
    """Compute each loss whose weight is not 0, unweighted.

    Args:
        relevance_logits: float32[batch].
        keep_logits: float32[batch, tokens].
        targets: see there.
        config: weights and settings.

    Returns:
        Scalars by the name of their weight in the configuration.
    """
    labels, units, relevant, groups = targets.labels, targets.units, targets.relevant, targets.groups
    parts: dict[str, Tensor] = {}
    if config.token_bce:
        parts["token_bce"] = token_bce(
            keep_logits, labels, positive_weight=config.positive_weight, smoothing=config.label_smoothing
        )
    if config.token_cross_entropy:
        classes = torch.stack([torch.zeros_like(keep_logits), keep_logits], dim=-1)
        parts["token_cross_entropy"] = token_cross_entropy(classes, labels, smoothing=config.label_smoothing)
    if config.token_focal:
        parts["token_focal"] = token_focal(keep_logits, labels, gamma=config.focal_gamma)
    if config.unit_bce:
        parts["unit_bce"] = unit_bce(keep_logits, labels, units)
    if config.relevance_bce:
        parts["relevance_bce"] = relevance_bce(relevance_logits, relevant)
    if config.relevance_listwise:
        parts["relevance_listwise"] = relevance_listwise(relevance_logits, relevant, groups)
    if config.relevance_mse:
        parts["relevance_mse"] = relevance_mse(relevance_logits, targets.teacher)
    if config.relevance_margin_mse:
        parts["relevance_margin_mse"] = relevance_margin_mse(relevance_logits, targets.teacher, relevant, groups)
    return parts


def joint_loss(parts: dict[str, Tensor], config: LossConfig) -> Tensor:
    """Return the weighted sum of `loss_parts`, a scalar."""
    return sum((getattr(config, name) * part for name, part in parts.items()), start=torch.zeros(()))
