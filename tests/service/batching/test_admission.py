"""What may wait, and for how long."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.models.errors import InputError
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.requests import check_request
from secateur.models.types import Passage, PruneRequest
from secateur.service.batching.admission import Admission, Load, Reservation, estimated_load
from secateur.service.errors import OverloadedError

LOADS = st.builds(Load, st.integers(1, 3000), st.integers(1, 3_000_000))
TIMEOUTS = st.floats(0.001, 300)


def tokens(number: int) -> Load:
    return Load(max(1, number // 50), number)


def admission(max_tokens: int, turn_tokens: int = 50, tokens_a_second: float | None = None) -> Admission:
    made = Admission(max_tokens, turn_tokens)
    if tokens_a_second is not None:
        made.speed.measure(tokens(turn_tokens), turn_tokens / tokens_a_second)
    return made


def admits(one: Admission, load: Load, timeout_s: float) -> bool:
    try:
        with one.reserve(load, timeout_s):
            return True
    except (OverloadedError, InputError):
        return False


def test_what_is_reserved_waits_until_it_is_released() -> None:
    one = admission(100)
    with one.reserve(tokens(60), 30.0):
        assert one.waiting == 60
        with one.reserve(tokens(40), 30.0):
            assert one.waiting == 100
        assert one.waiting == 60
    assert one.waiting == 0


def test_it_waits_until_the_last_holder_has_released_it() -> None:
    one = admission(100)
    reservation = one.reserve(tokens(60), 30.0)
    with ExitStack() as thread:
        with reservation:
            thread.enter_context(reservation)
        assert one.waiting == 60
    assert one.waiting == 0


def test_a_request_holds_what_it_really_costs() -> None:
    one = admission(100)
    with one.reserve(tokens(10), 30.0) as reservation:
        reservation.load = tokens(90)
        assert one.waiting == 90
        with pytest.raises(OverloadedError):
            one.reserve(tokens(90), 30.0)
    assert one.waiting == 0


def test_a_full_queue_says_when_to_come_again() -> None:
    one = admission(1000, tokens_a_second=200)
    with one.reserve(tokens(900), 30.0), pytest.raises(OverloadedError, match=r"900 tokens") as error:
        one.reserve(tokens(1000), 30.0)
    assert 4 <= error.value.retry_after_s <= 5


def test_nobody_is_sent_away_for_long() -> None:
    one = admission(1000, tokens_a_second=0.01)
    with one.reserve(tokens(900), 1e9), pytest.raises(OverloadedError) as error:
        one.reserve(tokens(1000), 1e9)
    assert error.value.retry_after_s == 60


def test_a_request_larger_than_the_queue_is_admitted_alone() -> None:
    one = admission(100)
    with one.reserve(tokens(5000), 30.0), pytest.raises(OverloadedError):
        one.reserve(tokens(60), 30.0)


def test_a_large_request_keeps_no_small_one_out() -> None:
    """It is ahead of a small one by a turn, not by all that it is."""
    one = admission(1000, turn_tokens=50, tokens_a_second=100)
    with one.reserve(tokens(1_000_000), 20_000.0):
        for _ in range(5):
            assert admits(one, tokens(10), 3.0)
        assert not admits(one, tokens(10), 0.5)
        assert not admits(one, tokens(900), 1000.0)


def test_what_would_come_too_late_is_refused_at_once() -> None:
    one = admission(1_000_000, turn_tokens=5000, tokens_a_second=1000)
    with one.reserve(tokens(7000), 10.0):
        assert admits(one, tokens(2000), 10.0)
        assert not admits(one, tokens(3500), 10.0)  # 8.1 s of the 10 s would go by
        assert admits(one, tokens(3500), 60.0)


def test_what_cannot_be_done_in_time_is_told_so() -> None:
    one = admission(1_000_000, turn_tokens=5000, tokens_a_second=1000)
    with pytest.raises(InputError, match=r"about 90 s \(90000 tokens at 1000 per second\), .* has 30 s") as error:
        one.check_feasible(tokens(90_000), 30.0)
    assert error.value.field == "passages"
    with pytest.raises(InputError, match="about 90 s"):
        one.reserve(tokens(90_000), 30.0)
    with one.reserve(tokens(10), 30.0), pytest.raises(InputError, match="about 90 s"):
        one.reserve(tokens(90_000), 30.0)
    assert admits(one, tokens(90_000), 61.0)  # it may be wrong by half


@given(st.lists(st.tuples(LOADS, st.floats(0, 100)), max_size=9), LOADS, TIMEOUTS)
def test_nothing_feasible_is_refused_while_nothing_waits(
    steps: list[tuple[Load, float]], load: Load, timeout_s: float
) -> None:
    one = Admission(1000, 4096)
    assert admits(one, load, timeout_s)  # nothing is known
    for ran, seconds in steps:
        one.speed.measure(ran, seconds)
    assert admits(one, load, max(timeout_s, one.speed.seconds(load)))


@given(st.lists(LOADS, max_size=9), LOADS, LOADS, TIMEOUTS, st.floats(1, 9))
def test_less_work_and_more_time_are_never_refused_instead(
    waiting: list[Load], load: Load, more: Load, timeout_s: float, longer: float
) -> None:
    one = Admission(1_000_000, 4096)
    one.speed.measure(Load(8, 4096), 0.4)
    with ExitStack() as stack:
        for each in waiting:
            stack.enter_context(one.reserve(each, 1e9)) if admits(one, each, 1e9) else None
        if admits(one, Load(load.windows + more.windows, load.tokens + more.tokens), timeout_s):
            assert admits(one, load, timeout_s)
            assert admits(one, load, timeout_s * longer)


@given(st.lists(st.tuples(st.sampled_from(["reserve", "enter", "exit", "change"]), LOADS), max_size=40))
def test_what_waits_is_the_sum_of_what_is_held(actions: list[tuple[str, Load]]) -> None:
    one = Admission(10_000_000, 4096)
    held: list[Reservation] = []
    for action, load in actions:
        if action == "reserve" and admits(one, load, 30.0):
            held.append(one.reserve(load, 30.0).__enter__())
        elif action == "enter" and held:
            held.append(held[0].__enter__())
        elif action == "exit" and held:
            held.pop().__exit__()
        elif action == "change" and held:
            held[-1].load = load
        assert one.waiting == sum(reservation.load.tokens for reservation in set(held))


def test_threads_hold_and_release_at_once() -> None:
    one = admission(100)

    def hold(reservation: Reservation) -> None:
        for _ in range(2000):
            with reservation:
                pass

    with one.reserve(tokens(60), 30.0) as reservation:
        threads = [Thread(target=hold, args=(reservation,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.waiting == 60
    assert one.waiting == 0


@pytest.mark.parametrize(
    ("query", "passages"),
    [
        ("When was the Eiffel Tower finished?", ["One sentence about towers, as people write them."]),
        ("When was the Eiffel Tower finished?", ["Short."] * 30),
        ("When was the Eiffel Tower finished?", [""]),
        ("When was the Eiffel Tower finished?", ["The tower stands in Paris, and it is tall. " * 200] * 3),
        ("when " * 1800, ["Short."] * 50),
        ("when " * 1800, ["The tower stands in Paris, and it is tall. " * 100]),
    ],
)
def test_the_estimate_is_near_the_load(pruner: Pruner, query: str, passages: list[str]) -> None:
    checked = check_request(query, passages, PruneOptions(truncate_query=True))
    windows = [window for passage in pruner.encode(checked).passages for window in passage.running]
    request = PruneRequest(query, tuple(Passage(text) for text in passages))
    estimate = estimated_load(request, pruner.encoder.window)
    assert 0.5 * len(windows) - 1 <= estimate.windows <= 2 * len(windows) + 1
    assert 0.5 * sum(map(len, windows)) - 8 <= estimate.tokens <= 2 * sum(map(len, windows)) + 16
