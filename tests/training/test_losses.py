from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from secateur.training.config import LossConfig
from secateur.training.losses import IGNORED
from secateur.training.losses.joint import Targets, joint_loss, loss_parts
from secateur.training.losses.relevance_bce import relevance_bce
from secateur.training.losses.relevance_listwise import relevance_listwise
from secateur.training.losses.relevance_margin_mse import relevance_margin_mse
from secateur.training.losses.relevance_mse import relevance_mse
from secateur.training.losses.token_bce import token_bce
from secateur.training.losses.token_cross_entropy import token_cross_entropy
from secateur.training.losses.token_focal import token_focal
from secateur.training.losses.unit_bce import unit_bce

KEEP = torch.tensor([[0.5, -1.0, 2.0, 7.0]])
LABELS = torch.tensor([[1.0, 0.0, 0.0, IGNORED]])


def targets(labels: Tensor = LABELS, **changes: Tensor) -> Targets:
    batch = len(labels)
    fields = {
        "units": torch.zeros_like(labels, dtype=torch.long),
        "relevant": torch.ones(batch),
        "teacher": torch.full((batch,), math.nan),
        "groups": torch.arange(batch),
    }
    return Targets(labels=labels, **(fields | changes))


def test_ignored_tokens_do_not_count() -> None:
    keep = torch.tensor([[0.0, 50.0, -50.0]])
    labels = torch.tensor([[1.0, IGNORED, IGNORED]])
    assert token_bce(keep, labels).item() == pytest.approx(math.log(2))
    assert token_focal(keep, labels, gamma=0.0).item() == pytest.approx(math.log(2))
    assert unit_bce(keep, labels, torch.zeros_like(labels, dtype=torch.long)).item() == pytest.approx(math.log(2))


def test_two_class_cross_entropy_is_binary_cross_entropy_for_heads_with_one_logit() -> None:
    classes = torch.stack([torch.zeros_like(KEEP), KEEP], dim=-1)
    assert token_cross_entropy(classes, LABELS).item() == pytest.approx(token_bce(KEEP, LABELS).item(), rel=1e-6)
    smooth = token_cross_entropy(classes, LABELS, smoothing=0.2).item()
    assert smooth == pytest.approx(token_bce(KEEP, LABELS, smoothing=0.2).item(), rel=1e-6)


def test_focal_loss_without_gamma_is_binary_cross_entropy_and_else_spares_what_is_right() -> None:
    assert token_focal(KEEP, LABELS, gamma=0.0).item() == pytest.approx(token_bce(KEEP, LABELS).item(), rel=1e-6)
    right, wrong = torch.tensor([[4.0]]), torch.tensor([[-4.0]])
    one = torch.ones(1, 1)
    assert token_focal(right, one).item() < 1e-3 * token_bce(right, one).item()
    assert token_focal(wrong, one).item() > 0.9 * token_bce(wrong, one).item()


def test_a_positive_weight_counts_kept_tokens_that_often() -> None:
    keep, labels = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    assert token_bce(keep, labels, positive_weight=3.0).item() == pytest.approx(2 * math.log(2))


def test_soft_labels_are_learned_as_probabilities() -> None:
    """The loss is least where the probability is the label."""
    labels = torch.tensor([[0.3]])
    at = {p: token_bce(torch.logit(torch.tensor([[p]])), labels).item() for p in (0.2, 0.3, 0.4)}
    assert min(at, key=at.__getitem__) == 0.3


def test_a_unit_counts_once_however_long_it_is() -> None:
    """One wrong token of five: a fifth of the token loss, half of the loss of two units."""
    keep = torch.tensor([[0.0, 9.0, 9.0, 9.0, 9.0]])
    labels, units = torch.ones(1, 5), torch.tensor([[0, 1, 1, 1, 1]])
    assert token_bce(keep, labels).item() == pytest.approx(math.log(2) / 5, abs=1e-3)
    assert unit_bce(keep, labels, units).item() == pytest.approx(math.log(2) / 2, abs=1e-3)


def test_a_unit_is_scored_by_the_mean_probability_of_its_tokens() -> None:
    keep = torch.logit(torch.tensor([[0.9, 0.5, 0.2], [0.4, 0.5, 0.5]]))
    labels = torch.tensor([[1.0, 1.0, 0.0], [0.0, IGNORED, IGNORED]])
    units = torch.tensor([[0, 0, 1], [0, 0, 0]])  # the first units of both rows are two units
    expected = -(math.log(0.7) + math.log(0.8) + math.log(0.6)) / 3
    assert unit_bce(keep, labels, units).item() == pytest.approx(expected, rel=1e-5)


def test_listwise_loss_is_the_softmax_over_a_querys_own_passages() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, 5.0, 1.0])
    relevant = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0])
    groups = torch.tensor([0, 0, 0, 1, 1])
    first = -math.log(math.exp(2) / (math.exp(2) + math.exp(1) + 1))
    second = -math.log(math.exp(5) / (math.exp(5) + math.exp(1)))
    assert relevance_listwise(logits, relevant, groups).item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_listwise_loss_counts_a_query_once_however_many_answers_it_has() -> None:
    one = relevance_listwise(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]), torch.zeros(2))
    mixed = relevance_listwise(
        torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0]),
        torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0]),
        torch.tensor([0, 0, 0, 1, 1]),
    )
    two = -math.log(math.e / (2 * math.e + 1))
    assert mixed.item() == pytest.approx((one.item() + two) / 2, rel=1e-5)


def test_queries_without_an_order_to_learn_leave_no_trace() -> None:
    """One without a relevant passage, one with nothing else."""
    logits = torch.tensor([3.0, -1.0, 2.0], requires_grad=True)
    loss = relevance_listwise(logits, torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0, 0, 1]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().sum().item() == 0


def test_a_teachers_scores_are_learned_where_there_are_any() -> None:
    logits = torch.tensor([1.0, 5.0], requires_grad=True)
    loss = relevance_mse(logits, torch.tensor([3.0, math.nan]))
    loss.backward()
    assert loss.item() == pytest.approx(4.0)
    assert logits.grad is not None
    assert logits.grad.tolist() == [-4.0, 0.0]
    assert relevance_mse(logits, torch.full((2,), math.nan)).item() == 0


def test_margins_are_compared_within_a_query_between_relevant_and_not() -> None:
    logits = torch.tensor([3.0, 1.0, 9.0, 0.0])
    teacher = torch.tensor([5.0, 0.0, math.nan, 1.0])
    relevant, groups = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([0, 0, 0, 1])
    assert relevance_margin_mse(logits, teacher, relevant, groups).item() == pytest.approx((2 - 5) ** 2)


def test_the_joint_loss_is_the_weighted_sum_of_the_parts_that_have_a_weight() -> None:
    config = LossConfig(token_bce=1.0, unit_bce=0.25, relevance_bce=0.4, relevance_mse=0.0)
    parts = loss_parts(torch.tensor([0.3]), KEEP, targets(), config)
    assert set(parts) == {"token_bce", "unit_bce", "relevance_bce"}
    expected = (
        token_bce(KEEP, LABELS)
        + 0.25 * unit_bce(KEEP, LABELS, targets().units)
        + 0.4 * relevance_bce(torch.tensor([0.3]), torch.ones(1))
    )
    assert joint_loss(parts, config).item() == pytest.approx(expected.item())


def test_every_part_can_be_switched_on() -> None:
    names = {name for name in LossConfig.__dataclass_fields__ if name.startswith(("token", "unit", "relevance"))}
    parts = loss_parts(torch.zeros(1), KEEP, targets(), LossConfig(**dict.fromkeys(names, 1.0)))
    assert set(parts) == names
    assert all(torch.isfinite(part) for part in parts.values())


def test_a_batch_without_a_label_has_a_finite_loss() -> None:
    names = {name for name in LossConfig.__dataclass_fields__ if name.startswith(("token", "unit", "relevance"))}
    config = LossConfig(**dict.fromkeys(names, 1.0))
    keep = torch.zeros(1, 2, requires_grad=True)
    unlabelled = targets(torch.full((1, 2), IGNORED), relevant=torch.zeros(1))
    loss = joint_loss(loss_parts(torch.zeros(1), keep, unlabelled, config), config)
    assert torch.isfinite(loss)
    loss.backward()


def test_the_loss_falls_as_logits_agree_with_labels() -> None:
    wanted = targets(torch.tensor([[1.0, 0.0]]), units=torch.tensor([[0, 1]]))
    config = LossConfig()
    wrong = joint_loss(loss_parts(torch.tensor([-2.0]), torch.tensor([[-2.0, 2.0]]), wanted, config), config)
    right = joint_loss(loss_parts(torch.tensor([2.0]), torch.tensor([[2.0, -2.0]]), wanted, config), config)
    assert right < wrong
