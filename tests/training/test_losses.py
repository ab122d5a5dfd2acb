from __future__ import annotations

import math

import pytest
import torch

from secateur.training.data import IGNORED
from secateur.training.losses import joint_loss


def test_ignored_tokens_do_not_count() -> None:
    keep = torch.tensor([[0.0, 50.0, -50.0]])
    labels = torch.tensor([[1, IGNORED, IGNORED]])
    loss = joint_loss(torch.zeros(1), keep, torch.ones(1), labels, weight=0.0)
    assert loss.total.item() == pytest.approx(math.log(2))


def test_the_relevance_loss_is_weighted() -> None:
    labels = torch.tensor([[1, 0]])
    loss = joint_loss(torch.zeros(1), torch.zeros(1, 2), torch.ones(1), labels, weight=0.4)
    assert loss.total.item() == pytest.approx(1.4 * math.log(2))
    assert loss.prune.item() == pytest.approx(loss.relevance.item())


def test_a_batch_without_a_label_has_a_finite_loss() -> None:
    loss = joint_loss(torch.zeros(1), torch.zeros(1, 2), torch.zeros(1), torch.full((1, 2), IGNORED), weight=1.0)
    assert torch.isfinite(loss.total)


def test_the_loss_falls_as_logits_agree_with_labels() -> None:
    labels, relevant = torch.tensor([[1, 0]]), torch.ones(1)
    wrong = joint_loss(torch.tensor([-2.0]), torch.tensor([[-2.0, 2.0]]), relevant, labels, 0.4)
    right = joint_loss(torch.tensor([2.0]), torch.tensor([[2.0, -2.0]]), relevant, labels, 0.4)
    assert right.total < wrong.total
