"""What may wait, and for how long."""

from __future__ import annotations

import pytest

from secateur.models.pruner import Pruner
from secateur.models.requests import check_request
from secateur.models.types import PruneOptions
from secateur.service.batching.admission import Admission, estimated_tokens
from secateur.service.batching.errors import OverloadedError


def test_what_is_reserved_waits_until_it_is_released() -> None:
    admission = Admission(100)
    with admission.reserve(60, 30.0):
        assert admission.waiting == 60
        with admission.reserve(40, 30.0):
            assert admission.waiting == 100
        assert admission.waiting == 60
    assert admission.waiting == 0


def test_a_request_holds_what_it_really_costs() -> None:
    admission = Admission(100)
    with admission.reserve(10, 30.0) as reservation:
        reservation.resize(90)
        assert admission.waiting == 90
        with pytest.raises(OverloadedError):
            admission.reserve(11, 30.0)
    assert admission.waiting == 0


def test_a_full_queue_says_when_to_come_again() -> None:
    admission = Admission(1000)
    admission.ran(400, 2.0)
    assert admission.rate == 200
    with admission.reserve(900, 30.0), pytest.raises(OverloadedError, match=r"900 tokens .* try again in 5 s") as error:
        admission.reserve(101, 30.0)
    assert error.value.retry_after_s == 5  # 900 tokens at 200 a second


def test_a_request_larger_than_the_queue_is_admitted_alone() -> None:
    admission = Admission(100)
    with admission.reserve(5000, 30.0), pytest.raises(OverloadedError):
        admission.reserve(1, 30.0)


def test_what_would_come_too_late_is_refused_at_once() -> None:
    admission = Admission(1_000_000)
    admission.ran(1000, 1.0)
    with admission.reserve(7000, 10.0):
        with admission.reserve(900, 10.0):
            pass
        with pytest.raises(OverloadedError):
            admission.reserve(1100, 10.0)  # 8.1 s of the 10 s would go by
        with admission.reserve(1100, 60.0):
            assert admission.waiting == 8100


def test_the_rate_follows_what_is_measured() -> None:
    admission = Admission(100)
    admission.ran(100, 1.0)
    for _ in range(40):
        admission.ran(300, 1.0)
    assert admission.rate == pytest.approx(300, rel=0.01)


@pytest.mark.parametrize("passages", [["One sentence about towers, as people write them."], ["Short."] * 30, [""]])
def test_the_estimate_is_near_the_tokens(pruner: Pruner, passages: list[str]) -> None:
    checked = check_request("When was the Eiffel Tower finished?", passages, PruneOptions())
    encoded = pruner.encode(checked)
    tokens = sum(len(window) for passage in encoded.passages for window in passage.running)
    assert 0.5 * tokens - 8 <= estimated_tokens(checked) <= 2 * tokens + 16
