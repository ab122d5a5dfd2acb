"""Losses on tokens, units and passages, and the weighted sum that a run minimises.

Each loss takes the network's relevance logits float32[batch] and keep logits float32[batch, tokens] with the targets of
a batch, and returns a scalar: a mean over what it counts, 0 for a batch without anything to count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

from secateur.training.config import LossConfig

IGNORED = -100.0
"""Label of tokens that no loss counts: query, title, special tokens and padding."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The labels of a batch.

    Attributes:
        labels: float32[batch, tokens], probability that a token's unit is to be kept, in [0, 1], or `IGNORED`.
        units: int64[batch, tokens], the unit of each labelled token in its window, from 0.
        relevant: float32[batch], 1 for a passage that answers its query, 0 for one that does not.
        teacher_scores: float32[batch], relevance logits of a teacher; nan where there is none.
        groups: int64[batch], the same number for all passages of a query.
    """

    labels: Tensor
    units: Tensor
    relevant: Tensor
    teacher_scores: Tensor
    groups: Tensor


def token_bce(_: Tensor, keep: Tensor, targets: Targets) -> Tensor:
    """Return binary cross-entropy per token (Provence: Chirkova et al., ICLR 2025, section 3)."""
    known = targets.labels != IGNORED
    losses = binary_cross_entropy_with_logits(keep, targets.labels.clamp(min=0), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def unit_means(keep: Tensor, labels: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean keep probability and the mean label of each unit's tokens, float32[units of the batch] each."""
    known = labels != IGNORED
    width = int(units.max()) + 1
    rows = torch.arange(len(units), device=units.device).unsqueeze(1)
    index = (rows * width + units)[known]
    kept = keep[known].sigmoid()
    counts, kept, gold = (
        kept.new_zeros(len(units) * width).index_add(0, index, values.to(kept.dtype))
        for values in (torch.ones_like(kept), kept, labels[known])
    )
    present = counts > 0
    return kept[present] / counts[present], gold[present] / counts[present]


def unit_bce(_: Tensor, keep: Tensor, targets: Targets) -> Tensor:
    """Return binary cross-entropy per unit, scored by the mean keep probability of its tokens.

    The token loss weighs a unit by its length; here a short answer counts as much as a long sentence.
    """
    probability, gold = unit_means(keep, targets.labels, targets.units)
    return binary_cross_entropy(probability.clamp(1e-6, 1 - 1e-6), gold) if len(gold) else keep.sum() * 0.0


def relevance_bce(relevance: Tensor, _: Tensor, targets: Targets) -> Tensor:
    """Return binary cross-entropy per passage."""
    return binary_cross_entropy_with_logits(relevance, targets.relevant)


def relevance_listwise(relevance: Tensor, _: Tensor, targets: Targets) -> Tensor:
    """Return softmax cross-entropy over the passages of a query (ListNet, Cao et al. 2007).

    Queries without a relevant passage in the batch, or with relevant passages only, are not counted.
    """
    same = targets.groups.unsqueeze(0) == targets.groups.unsqueeze(1)
    logits = relevance.unsqueeze(0).masked_fill(~same, -torch.inf)
    losses = torch.logsumexp(logits, dim=1) - relevance
    positives = (same * targets.relevant.unsqueeze(0)).sum(1)
    useful = (targets.relevant > 0) & (positives < same.sum(1))
    weights = useful / positives.clamp(min=1)  # each query counts once
    return (losses * weights).sum() / weights.sum().clamp(min=1e-9)


def relevance_mse(relevance: Tensor, _: Tensor, targets: Targets) -> Tensor:
    """Return the squared error to a teacher's logits (Provence's regulariser, which preserves a reranker)."""
    known = ~torch.isnan(targets.teacher_scores)
    errors = (relevance - targets.teacher_scores.nan_to_num()) ** 2
    return (errors * known).sum() / known.sum().clamp(min=1)


def relevance_margin_mse(relevance: Tensor, _: Tensor, targets: Targets) -> Tensor:
    """Return the squared error of margins to a teacher's (Hofstätter et al. 2020).

    A margin is the difference between the logits of a relevant and an irrelevant passage of one query.
    """
    known, scores = ~torch.isnan(targets.teacher_scores), targets.teacher_scores.nan_to_num()
    groups, relevant = targets.groups, targets.relevant
    pairs = (groups.unsqueeze(1) == groups.unsqueeze(0)) & (relevant.unsqueeze(1) > relevant.unsqueeze(0))
    pairs = pairs & known.unsqueeze(1) & known.unsqueeze(0)
    margins = relevance.unsqueeze(1) - relevance.unsqueeze(0)
    wanted = scores.unsqueeze(1) - scores.unsqueeze(0)
    return (((margins - wanted) ** 2) * pairs).sum() / pairs.sum().clamp(min=1)


LOSSES = (token_bce, unit_bce, relevance_bce, relevance_listwise, relevance_mse, relevance_margin_mse)
"""All losses; each has its weight in `LossConfig` under its name."""


def loss_parts(relevance: Tensor, keep: Tensor, targets: Targets, config: LossConfig) -> dict[str, Tensor]:
    """Return each loss whose weight is not 0, unweighted, by name."""
    return {loss.__name__: loss(relevance, keep, targets) for loss in LOSSES if getattr(config, loss.__name__)}


def joint_loss(parts: dict[str, Tensor], config: LossConfig) -> Tensor:
    """Return the weighted sum of `loss_parts`."""
    return sum((getattr(config, name) * part for name, part in parts.items()), start=torch.zeros(()))
