from __future__ import annotations

import math

import pytest
import torch

from secateur.training.data import IGNORED
from secateur.training.losses import joint_loss, token_loss, unit_loss


def test_ignored_tokens_do_not_count() -> None:
    keep = torch.tensor([[0.0, 50.0, -50.0]])
    labels = torch.tensor([[1, IGNORED, IGNORED]])
    loss = joint_loss(torch.zeros(1), keep, torch.ones(1), labels, torch.zeros_like(labels), weight=0.0)
    assert loss.total.item() == pytest.approx(math.log(2))


def test_the_relevance_loss_is_weighted() -> None:
    labels = torch.tensor([[1, 0]])
    loss = joint_loss(torch.zeros(1), torch.zeros(1, 2), torch.ones(1), labels, torch.zeros_like(labels), weight=0.4)
    assert loss.total.item() == pytest.approx(1.4 * math.log(2))
    assert loss.prune.item() == pytest.approx(loss.relevance.item())


def test_a_batch_without_a_label_has_a_finite_loss() -> None:
    labels = torch.full((1, 2), IGNORED)
    keep = torch.zeros(1, 2, requires_grad=True)
    units = torch.zeros_like(labels)
    loss = joint_loss(torch.zeros(1), keep, torch.zeros(1), labels, units, weight=1.0, unit_share=0.5)
    assert loss.prune.item() == 0
    assert torch.isfinite(loss.total)
    loss.total.backward()


def test_the_loss_falls_as_logits_agree_with_labels() -> None:
    labels, units, relevant = torch.tensor([[1, 0]]), torch.tensor([[0, 1]]), torch.ones(1)
    wrong = joint_loss(torch.tensor([-2.0]), torch.tensor([[-2.0, 2.0]]), relevant, labels, units, weight=0.4)
    right = joint_loss(torch.tensor([2.0]), torch.tensor([[2.0, -2.0]]), relevant, labels, units, weight=0.4)
    assert right.total < wrong.total


def test_a_unit_counts_once_however_long_it_is() -> None:
    """One wrong token of five: a fifth of the token loss, half of the loss of two units."""
    keep = torch.tensor([[0.0, 9.0, 9.0, 9.0, 9.0]])
    labels, units = torch.tensor([[1, 1, 1, 1, 1]]), torch.tensor([[0, 1, 1, 1, 1]])
    assert token_loss(keep, labels).item() == pytest.approx(math.log(2) / 5, abs=1e-3)
    assert unit_loss(keep, labels, units).item() == pytest.approx(math.log(2) / 2, abs=1e-3)


def test_a_unit_is_scored_by_the_mean_probability_of_its_tokens() -> None:
    keep = torch.logit(torch.tensor([[0.9, 0.5, 0.2], [0.4, 0.5, 0.5]]))
    labels = torch.tensor([[1, 1, 0], [0, IGNORED, IGNORED]])
    units = torch.tensor([[0, 0, 1], [0, 0, 0]])  # the first units of both rows are two units
    expected = -(math.log(0.7) + math.log(0.8) + math.log(0.6)) / 3
    assert unit_loss(keep, labels, units).item() == pytest.approx(expected, rel=1e-5)


def test_the_pruning_loss_is_shared_between_tokens_and_units() -> None:
    keep, labels, units = torch.tensor([[0.5, -1.0, 2.0]]), torch.tensor([[1, 0, 0]]), torch.tensor([[0, 1, 1]])
    loss = joint_loss(torch.zeros(1), keep, torch.ones(1), labels, units, weight=0.0, unit_share=0.25)
    expected = 0.75 * token_loss(keep, labels) + 0.25 * unit_loss(keep, labels, units)
    assert loss.total.item() == pytest.approx(expected.item())
