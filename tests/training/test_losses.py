from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from secateur.training.config import LossConfig
from secateur.training.losses import (
    IGNORED,
    LOSSES,
    Targets,
    joint_loss,
    loss_parts,
    relevance_bce,
    relevance_listwise,
    relevance_margin_mse,
    relevance_mse,
    token_bce,
    unit_bce,
)

KEEP = torch.tensor([[0.5, -1.0, 2.0, 7.0]])
LABELS = torch.tensor([[1.0, 0.0, 0.0, IGNORED]])


def targets(labels: Tensor = LABELS, **changes: Tensor) -> Targets:
    batch = len(labels)
    fields = {
        "units": torch.zeros_like(labels, dtype=torch.long),
        "relevant": torch.ones(batch),
        "teacher_scores": torch.full((batch,), math.nan),
        "groups": torch.arange(batch),
    }
    return Targets(labels=labels, **(fields | changes))


def tokens(keep: Tensor, labels: Tensor) -> float:
    return token_bce(torch.zeros(len(keep)), keep, targets(labels)).item()


def units_loss(keep: Tensor, labels: Tensor, units: Tensor) -> float:
    return unit_bce(torch.zeros(len(keep)), keep, targets(labels, units=units)).item()


def passages(relevant: Tensor, groups: Tensor) -> Targets:
    return targets(torch.full((len(relevant), 1), IGNORED), relevant=relevant, groups=groups)


def listwise(logits: Tensor, relevant: Tensor, groups: Tensor) -> Tensor:
    return relevance_listwise(logits, torch.zeros(len(logits), 1), passages(relevant, groups))


def taught(scores: Tensor, **changes: Tensor) -> Targets:
    return targets(torch.full((len(scores), 1), IGNORED), teacher_scores=scores, **changes)


def test_ignored_tokens_do_not_count() -> None:
    keep = torch.tensor([[0.0, 50.0, -50.0]])
    labels = torch.tensor([[1.0, IGNORED, IGNORED]])
    assert tokens(keep, labels) == pytest.approx(math.log(2))
    assert units_loss(keep, labels, torch.zeros_like(labels, dtype=torch.long)) == pytest.approx(math.log(2))


def test_soft_labels_are_learned_as_probabilities() -> None:
    """The loss is least where the probability is the label."""
    labels = torch.tensor([[0.3]])
    at = {p: tokens(torch.logit(torch.tensor([[p]])), labels) for p in (0.2, 0.3, 0.4)}
    assert min(at, key=at.__getitem__) == 0.3


def test_a_unit_counts_once_however_long_it_is() -> None:
    """One wrong token of five: a fifth of the token loss, half of the loss of two units."""
    keep = torch.tensor([[0.0, 9.0, 9.0, 9.0, 9.0]])
    labels, units = torch.ones(1, 5), torch.tensor([[0, 1, 1, 1, 1]])
    assert tokens(keep, labels) == pytest.approx(math.log(2) / 5, abs=1e-3)
    assert units_loss(keep, labels, units) == pytest.approx(math.log(2) / 2, abs=1e-3)


def test_a_unit_is_scored_by_the_mean_probability_of_its_tokens() -> None:
    keep = torch.logit(torch.tensor([[0.9, 0.5, 0.2], [0.4, 0.5, 0.5]]))
    labels = torch.tensor([[1.0, 1.0, 0.0], [0.0, IGNORED, IGNORED]])
    units = torch.tensor([[0, 0, 1], [0, 0, 0]])  # the first units of both rows are two units
    expected = -(math.log(0.7) + math.log(0.8) + math.log(0.6)) / 3
    assert units_loss(keep, labels, units) == pytest.approx(expected, rel=1e-5)


def test_listwise_loss_is_the_softmax_over_a_querys_own_passages() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, 5.0, 1.0])
    relevant = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0])
    groups = torch.tensor([0, 0, 0, 1, 1])
    first = -math.log(math.exp(2) / (math.exp(2) + math.exp(1) + 1))
    second = -math.log(math.exp(5) / (math.exp(5) + math.exp(1)))
    assert listwise(logits, relevant, groups).item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_listwise_loss_counts_a_query_once_however_many_answers_it_has() -> None:
    one = listwise(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]), torch.zeros(2))
    mixed = listwise(
        torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0]),
        torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0]),
        torch.tensor([0, 0, 0, 1, 1]),
    )
    two = -math.log(math.e / (2 * math.e + 1))
    assert mixed.item() == pytest.approx((one.item() + two) / 2, rel=1e-5)


def test_queries_without_an_order_to_learn_leave_no_trace() -> None:
    """One without a relevant passage, one with nothing else."""
    logits = torch.tensor([3.0, -1.0, 2.0], requires_grad=True)
    loss = listwise(logits, torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0, 0, 1]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().sum().item() == 0


def test_a_teachers_scores_are_learned_where_there_are_any() -> None:
    logits = torch.tensor([1.0, 5.0], requires_grad=True)
    loss = relevance_mse(logits, torch.zeros(2, 1), taught(torch.tensor([3.0, math.nan])))
    loss.backward()
    assert loss.item() == pytest.approx(4.0)
    assert logits.grad is not None
    assert logits.grad.tolist() == [-4.0, 0.0]
    assert relevance_mse(logits, torch.zeros(2, 1), taught(torch.full((2,), math.nan))).item() == 0


def test_margins_are_compared_within_a_query_between_relevant_and_not() -> None:
    logits = torch.tensor([3.0, 1.0, 9.0, 0.0])
    teacher = torch.tensor([5.0, 0.0, math.nan, 1.0])
    relevant, groups = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([0, 0, 0, 1])
    wanted = taught(teacher, relevant=relevant, groups=groups)
    assert relevance_margin_mse(logits, torch.zeros(4, 1), wanted).item() == pytest.approx((2 - 5) ** 2)


def test_the_joint_loss_is_the_weighted_sum_of_the_parts_that_have_a_weight() -> None:
    config = LossConfig(token_bce=1.0, unit_bce=0.25, relevance_bce=0.4, relevance_mse=0.0)
    relevance = torch.tensor([0.3])
    parts = loss_parts(relevance, KEEP, targets(), config)
    assert set(parts) == {"token_bce", "unit_bce", "relevance_bce"}
    expected = (
        token_bce(relevance, KEEP, targets())
        + 0.25 * unit_bce(relevance, KEEP, targets())
        + 0.4 * relevance_bce(relevance, KEEP, targets())
    )
    assert joint_loss(parts, config).item() == pytest.approx(expected.item())


def test_every_part_can_be_switched_on() -> None:
    names = {loss.__name__ for loss in LOSSES}
    assert names == set(LossConfig.__dataclass_fields__)
    parts = loss_parts(torch.zeros(1), KEEP, targets(), LossConfig(**dict.fromkeys(names, 1.0)))
    assert set(parts) == names
    assert all(torch.isfinite(part) for part in parts.values())


def test_a_batch_without_a_label_has_a_finite_loss() -> None:
    names = LossConfig.__dataclass_fields__
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
